"""What ends a program, given to somebody who can say what has to be done first."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def signals_to(handler: Callable[[int, object], None]) -> Iterator[None]:
    """What ends a program (Ctrl-C, kill, a closed terminal) goes to `handler`."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def interrupt(number: int, frame: object) -> None:
    """Ends what is being done; what is to be done at the end is done."""
    raise KeyboardInterrupt
