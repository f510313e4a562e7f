"""What every handler works with: the state, the machines, the actions and the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lab.backend import Machines
from lab.cloud.actions import Actions, rfc3339
from lab.cloud.downtime import Downtime
from lab.cloud.faults import Faults
from lab.cloud.state import State

Clock = Callable[[], datetime]
Sink = Callable[[str, Any], dict[str, Any]]
"""Method and JSON to the answer; raises `LabError`."""


def wall_clock() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


@dataclass
class Cloud:
    """One local cloud. Made by `lab.cloud.app.create_app`."""

    state: State
    machines: Machines
    actions: Actions
    faults: Faults
    downtime: Downtime = field(default_factory=Downtime)
    clock: Clock = wall_clock
    sink: Sink | None = None
    _locks: dict[int, threading.RLock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> str:
        """The time as the API writes it."""
        return rfc3339(self.clock())

    @contextmanager
    def machine(self, server: int) -> Iterator[None]:
        """Have a machine for oneself: the machine side is never asked two things at once for the same one."""
        with self._lock(server):
            yield

    @contextmanager
    def machine_if_free(self, server: int) -> Iterator[bool]:
        """Have a machine for oneself if nobody else has it now; yields whether."""
        lock = self._lock(server)
        got = lock.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                lock.release()

    def _lock(self, server: int) -> threading.RLock:
        with self._guard:
            return self._locks.setdefault(server, threading.RLock())
