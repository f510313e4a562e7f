"""One line of a report on how something is: what was found, and what to do next where it is not well. Stdlib only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bastide.console import say

Level = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """`ok` is well, `note` is worth knowing, `missing` must be mended. `next` is the next step."""

    level: Level
    what: str
    next: str = ""

    def __str__(self) -> str:
        mark = {"ok": "✓", "note": "•", "missing": "✗"}[self.level]
        return f"{mark} {self.what}" + (f"; next: {self.next}" if self.next else "")


def show(found: Iterable[Finding]) -> bool:
    """Print each line as soon as it is found. Returns whether nothing is missing."""
    well = True
    for finding in found:
        say(str(finding))
        well = well and finding.level != "missing"
    return well
