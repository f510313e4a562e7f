"""Programs that are sent to a machine and run there as they stand in `remote/`, with the standard library alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from shlex import quote
from typing import Any

_FOLDER = Path(__file__).with_name("remote")


def script(plan: dict[str, Any], *names: str) -> str:
    """The shell command that runs these files one after the other in one namespace, with `plan` as its first word.

    The script's own words come after it.
    """
    return f'{sent(*names)} {quote(json.dumps(plan))} "$@"'


def sent(*names: str) -> str:
    """The same, without a plan: words may follow."""
    text = "\n".join(_text(name) for name in names)
    return f"printf %s {base64.b64encode(text.encode()).decode()} | base64 -d | python3 -I -W ignore -"


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.py").read_text(encoding="utf-8").replace("from __future__ import annotations\n", "", 1)
