"""How much has moved, how fast, and of how much."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from bastide.console import say

_EVERY_SECONDS = 5.0


class Progress:
    """Says every few seconds how far it is. `total`: bytes, 0 where nobody knows; `objects`: of how many."""

    def __init__(self, total: int = 0, objects: int = 0) -> None:
        self._total, self._objects = total, objects
        self._bytes = self._done = 0
        self._what = ""
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def moved(self, count: int) -> None:
        """So many more bytes."""
        self._bytes += count

    def made(self, what: str) -> None:
        """One more object is begun."""
        self._done += 1
        self._what = what

    def line(self) -> str:
        """How far it is."""
        words = [size(self._bytes) + (f" of {size(self._total)}" if self._total else ""), self._rate()]
        if self._objects:
            words.append(f"{min(self._done, self._objects)} of {self._objects} objects")
        return ", ".join(filter(None, (*words, self._what)))

    def summary(self) -> str:
        """What it was in the end."""
        return f"{size(self._bytes)} in {time.monotonic() - self._began:.1f} s"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            say(f"  … {self.line()}")

    def _rate(self) -> str:
        return f"{size(self._bytes / max(time.monotonic() - self._began, 0.001))}/s"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
