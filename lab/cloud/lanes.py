"""Worker threads: jobs of one lane run one after the other, lanes run side by side.

A lane is a machine, a network or a firewall. Threads are made when a lane has work and end when it has none; they are
daemon threads, so that the process can end at any moment (what was running is repeated after the next start).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


class Lanes:
    """Queues of jobs by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Job]] = {}

    def submit(self, lane: str, job: Job) -> None:
        """Run `job` after all that was submitted to this lane before. Jobs must not raise."""
        with self._lock:
            if lane in self._queues:
                self._queues[lane].append(job)
                return
            self._queues[lane] = deque([job])
        threading.Thread(target=self._work, args=(lane,), name=f"cloud {lane}", daemon=True).start()

    def _work(self, lane: str) -> None:
        while True:
            with self._lock:
                if not self._queues[lane]:
                    del self._queues[lane]
                    return
                job = self._queues[lane].popleft()
            job()
