"""What pyinfra printed, read back: its lines about machines, without the colours of a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MACHINE = re.compile(r"^\s*\[(?P<name>[^\]]+)\] (?P<said>.*\S)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    """A text without the colours of a terminal."""
    return _COLOURS.sub("", text)


def machine_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line about a machine: its name, and what was said of it."""
    for line in plain(text).splitlines():
        if found := _MACHINE.match(line):
            yield found["name"], found["said"]
