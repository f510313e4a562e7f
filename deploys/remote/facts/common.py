"""Runs on the machine: what the facts of all nouns share. They read, and change nothing.

Standard library only, since it is sent to the machine as it stands here, and no module more of it than needed: each
costs milliseconds at every deploy. `TYPE_CHECKING` stands where `typing` would be imported for it alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path("/")
STATE = "/var/lib/bastide"


def collect(requests: dict[str, tuple[str, object]]) -> None:
    """Print the answers as JSON, by fact. `requests`: by fact the module whose function it is, and what is asked."""
    print(json.dumps({name: getattr(sys.modules[module], name)(asked) for name, (module, asked) in requests.items()}))


def at(path: str) -> Path:
    """Where a path of the machine is."""
    return ROOT / path.lstrip("/")


def called(path: Path) -> str:
    """What the machine calls what is found there."""
    return f"/{path.relative_to(ROOT)}"


def entries(folder: str) -> list[Path]:
    """What is in a folder, sorted; nothing where there is no folder."""
    try:
        return sorted(at(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: str | Path) -> str:
    """The text of a file; "" for one that cannot be read."""
    try:
        return (at(path) if isinstance(path, str) else path).read_text(errors="replace")
    except OSError:
        return ""


def output(*argv: str) -> str:
    """What a program prints; "" when it is missing or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
