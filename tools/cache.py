"""The cache of one user: parts that are complete or not there at all, and the lock that keeps two installs apart.

~/.cache/bastide/tools/
  parts/<name>-<version>-<architecture>-<hash of the recipe>/   one part, put in place by a rename
  sets/<hash>/bin/                                              links to the parts that belong together
  log/                                                          what go and pip said
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bastide.console import say
from bastide.errors import ToolError

_LOCK_SECONDS = 3600.0
_LOCK_POLL_SECONDS = 0.2


def root() -> Path:
    """The folder of all installed tools; follows XDG_CACHE_HOME (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the specification says to ignore relative paths
    cache = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return cache / "bastide" / "tools"


def log(name: str) -> Path:
    """A fresh log file for what a program says; its folder exists."""
    path = root() / "log" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def recipe_hash(paths: Sequence[Path], *words: str) -> str:
    """Twelve hex digits that change with the content or the name of any of these files and folders."""
    digest = hashlib.sha256("\0".join(words).encode())
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"\0{file.relative_to(path.parent)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the user's install lock; wait for another install, which is said. The kernel frees it when a holder dies."""
    folder = root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ToolError(
            f"cannot write to {folder}: {error.strerror}", "make it yours (chown), or set XDG_CACHE_HOME"
        ) from error
    try:
        _wait_for(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A new folder that becomes `target` when the block ends well, and vanishes when it does not.

    What an interrupted install left beside it is removed first; hold the lock.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    staging = target.parent / f".{target.name}.{os.getpid()}"
    staging.mkdir()
    try:
        yield staging
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_space(folder: Path, gigabytes: float, why: str) -> None:
    """Raise `ToolError` unless the disk below `folder` has this much room."""
    here = folder
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free / 1e9
    if free < gigabytes:
        raise ToolError(
            f"{why} needs {gigabytes:g} GB below {here}, only {free:.1f} GB are free",
            "free some space, or point XDG_CACHE_HOME (and GOMODCACHE, GOCACHE) at a larger disk",
        )


def _wait_for(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told:
                say("another install of the tools is at work; waiting for it …")
                told = True
            if time.monotonic() > deadline:
                raise ToolError(
                    "another install of the tools did not end within an hour",
                    f"see who holds {root() / 'lock'}: fuser -v",
                ) from None
            time.sleep(_LOCK_POLL_SECONDS)
