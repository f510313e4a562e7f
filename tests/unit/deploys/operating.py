"""An operation without a machine: a host that says what a test wants, and what is made of that."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

NOTHING: dict[str, list[str]] = {"pending": [], "guard": []}


class Fake(SimpleNamespace):
    """A stand-in that can be a key of a weak dictionary."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def seen(content: bytes = b"old", mode: int = 0o644) -> dict[str, Any]:
    """A file as the machine has it."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "mode": mode, "owner": "root", "group": "root"}


def commands(operation: Any, **arguments: Any) -> list[str]:
    """What an operation has the machine run."""
    return [str(command) for command in operation._inner(**arguments)]


def sent(command: Any) -> Any:
    """What a command tells the script on the machine."""
    text = command.connector_arguments["_stdin"].encode().decode()
    return json.loads(eval(text.splitlines()[-1].partition("json.loads(")[2].rstrip(")")))
