"""A mistyped `--limit` is an error, not a run over nothing."""

from __future__ import annotations

import pytest

from hosts.transport.limits import unknown_limits

KNOWN = ("primary", "standby", "witness", "fsn1")


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        (("--limit", "standby"), []),
        (("--limit", "standby,nobody"), ["nobody"]),
        (("--limit=nobody",), ["nobody"]),
        (("--limit", "@bastide/primary", "--limit", "fsn1"), []),
        (("--limit", "prim*"), []),
        (("--limit", "all"), []),
        (("-y", "hosts/inventory.py"), []),
        (("--limit",), []),
    ],
)
def test_only_what_matches_nothing_is_unknown(words: tuple[str, ...], unknown: list[str]) -> None:
    assert unknown_limits(("pyinfra", *words), KNOWN) == unknown
