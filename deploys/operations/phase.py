"""A barrier between phases."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation


@operation()
def phase() -> Generator[PyinfraCommand | str, None, None]:
    """Change nothing, on every host: what stands before it has ended everywhere before what follows begins.

    pyinfra keeps each host's own order and merges the lists level by level; only an operation that all hosts share
    holds two phases apart. Give it `name=`: that is what the user sees.
    """
    yield from ()
