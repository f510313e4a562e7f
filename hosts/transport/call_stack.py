"""pyinfra looks at the call stack at each operation, for line numbers alone; this keeps it from reading source, too.

`inspect` looks for a line of source around every frame unless it is told not to, and for that through all modules that
are loaded: a fifth of the processor time of a run that changes nothing (pyinfra 3.10.0, api/util.py: it uses `filename`
and `lineno`).
"""

from __future__ import annotations

import inspect
from functools import partial

from pyinfra.api import util


def without_source() -> None:
    """Let pyinfra ask for frames without their source. Safe to be called again."""
    util.stack = partial(inspect.stack, 0)  # type: ignore[attr-defined]
    util.getframeinfo = partial(inspect.getframeinfo, context=0)  # type: ignore[attr-defined]
