"""A check names everything that is wrong, so that nobody mends one thing only to be told of the next."""

from __future__ import annotations

from collections.abc import Iterable


def judge(found: Iterable[str]) -> None:
    """Fail with all that was found, each once; hold when nothing was."""
    wrong = list(dict.fromkeys(found))
    assert not wrong, "; ".join(wrong)
