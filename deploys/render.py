"""Templates to text: undefined names are errors, and there are no defaults.

What Jinja makes of a template is kept beside the checkout's other products: compiling them all took a tenth of a deploy
that changes nothing. It knows the texts that it was made of, and the versions of Jinja and Python.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined

_ROOT = Path(__file__).resolve().parent.parent
_TEMPLATES = _ROOT / "templates"
_COMPILED = _ROOT / "build" / ".templates"


def render(template: str, **values: object) -> str:
    """The text of `templates/<template>` with these values."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    return Environment(  # noqa: S701 - configuration files, not HTML
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_compiled(),
    )


def _compiled() -> FileSystemBytecodeCache | None:
    """Where it is kept; None in a checkout that is somebody else's to write."""
    try:
        _COMPILED.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(_COMPILED)) if os.access(_COMPILED, os.W_OK) else None
