"""Who may run now: most tests side by side, and one that needs the machine for itself (`pytest.mark.alone`) alone.

The others are those of other processes: pytest-xdist's workers, or a second run in the same checkout.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turns:
    """A lock that tests share, or have alone. Whoever wants it alone is waited for by those who come later."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._gate, self._lock = (
            os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in ("gate", "turn")
        )
        self._alone = False

    def begin(self, *, alone: bool) -> None:
        """Wait until a test may run."""
        if alone and self._alone:
            return
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._alone = alone

    def end(self, *, next_alone: bool) -> None:
        """The test is over. When the next one of this process needs the machine alone as well, it is kept."""
        if self._alone and next_alone:
            return
        self._alone = False
        fcntl.flock(self._lock, fcntl.LOCK_UN)
