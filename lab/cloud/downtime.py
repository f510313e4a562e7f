"""Which servers were ordered off, and how many of them at once: for tests of what may never stop both sites."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Downtime:
    """Counts what was ordered by the API. A machine that goes down by itself, or reboots, is not in it.

    A server that was deleted stays off: the one that takes its place is another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._off: set[int] = set()
        self._most: set[int] = set()

    def off(self, server: int) -> None:
        """It goes off now, or has been asked to."""
        with self._lock:
            self._off.add(server)
            if len(self._off) > len(self._most):
                self._most = set(self._off)

    def on(self, server: int) -> None:
        """It has been switched on."""
        with self._lock:
            self._off.discard(server)

    def most(self) -> set[int]:
        """The servers that were off at the same time, at the moment when most of them were."""
        with self._lock:
            return set(self._most)

    def forget(self, existing: Iterable[int]) -> None:
        """Count anew, from those of the servers there are that are off now."""
        with self._lock:
            self._off.intersection_update(existing)
            self._most = set(self._off)
