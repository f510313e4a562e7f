"""What `--limit` names."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Sequence


def unknown_limits(argv: Sequence[str], known: Collection[str]) -> list[str]:
    """The words of `--limit` in a command line of pyinfra that match none of `known` (machines and groups).

    pyinfra takes shell patterns and several words with commas between, and `@bastide/NAME` for a host.
    """
    return [
        word
        for given in _given(argv)
        for word in given.split(",")
        if not any(fnmatch.fnmatch(one, word.removeprefix("@bastide/")) for one in (*known, "all"))
    ]


def _given(argv: Sequence[str]) -> Iterator[str]:
    for number, word in enumerate(argv):
        if word == "--limit":
            yield from argv[number + 1 : number + 2]
        elif word.startswith("--limit="):
            yield word.partition("=")[2]
