"""Runs on the machine: what the facts of all nouns share. They read, and change nothing.

Standard library only, since it is sent to the machine as it stands here, and no module more of it than needed: each
costs milliseconds at every deploy. `TYPE_CHECKING` stands where `typing` would be imported for it alone.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path("/")
STATE = "/var/lib/bastide"
MOST_IN_HOME = 65536


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


def read_in_home(home: str, name: str) -> str | None:
    """The beginning of a file below somebody's home ("x" or "folder/x"), as far as it is a plain file there.

    "" for none, and for what only looks like one: whoever owns the home could have root read a device or a pipe for
    ever, or somebody else's file. `None` for one that is larger than anybody needs.
    """
    *folders, last = name.split("/")
    handles = []
    try:
        handles.append(os.open(at(home), os.O_RDONLY | os.O_DIRECTORY))
        for folder in folders:
            handles.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handles[-1]))
        # without O_NONBLOCK opening a pipe would wait for whoever writes into it
        handles.append(os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handles[-1]))
        if not stat.S_ISREG(os.fstat(handles[-1]).st_mode):
            return ""
        data = os.read(handles[-1], MOST_IN_HOME + 1)
        return data.decode(errors="replace") if len(data) <= MOST_IN_HOME else None
    except OSError:
        return ""
    finally:
        for handle in handles:
            os.close(handle)


def properties(text: str) -> dict[str, str]:
    """Lines "key=value", as `systemctl show` prints them of one unit."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def output(*argv: str) -> str:
    """What a program prints; "" when it is missing or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
