"""The token of the admin API (`/_lab` beside the cloud's): its own, so that who may use the cloud cannot break it."""

from __future__ import annotations

import hashlib
import os
import secrets

from lab.place import Place
from lab.registry import locked


def token(here: Place) -> str:
    """The token; made when there is none. In the lab's folder, which only root may look into."""
    path, older = here.folder / "admin.token", here.folder / "door.token"
    with locked(here.folder / ".admin.lock"):
        if older.exists() and not path.exists():
            # a lab that stands since before the file had this name: its daemon lets in this token and no other
            older.replace(path)
        if not path.exists():
            work = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            work.replace(path)
    return path.read_text()


def digest(here: Place) -> str:
    """Its SHA-256 in hex."""
    return hashlib.sha256(token(here).encode()).hexdigest()
