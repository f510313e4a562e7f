"""Runs on a machine as root: by which files somebody else becomes root. It reads modes, owners and capabilities.

Standard library only. What root runs or goes by lies in few folders; a program that runs as root for whoever starts it
may lie anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_NOT_FILES = ("/proc", "/sys", "/dev")
_INFO = "/var/lib/dpkg/info"


def roots_own(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: places (folders whose files root runs or goes by), services (folders in them that are services' own:
    their accounts may own and write what is there), least (the number of the first account that is no service's).

    Returns `raised`, of each file that runs with more than its caller has: its mode, whether it has capabilities, and
    whether it is `as_brought` by its package; `writable`, why somebody but root may write a file or folder; how many
    files were `seen`.
    """
    brought = _brought()
    raised: dict[str, Any] = {}
    writable: dict[str, str] = {}
    seen = 0
    for path, state in _all():
        seen += 1
        if stat.S_ISREG(state.st_mode) and (found := _raised(path, state)):
            raised[path] = {**found, "as_brought": _digest(path) in brought.get(path, ())}
        if why := _writable(path, state, plan):
            writable[path] = why
    return {"raised": raised, "writable": writable, "seen": seen}


def _all() -> Iterator[tuple[str, os.stat_result]]:
    """Files and folders of all file systems; a link says nothing of what it leads to, which comes by itself."""
    waiting = ["/"]
    yield "/", Path("/").stat()
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.path in _NOT_FILES or entry.is_symlink():
                continue
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(state.st_mode):
                waiting.append(entry.path)
            yield entry.path, state


def _raised(path: str, state: os.stat_result) -> dict[str, Any] | None:
    special = state.st_mode & (stat.S_ISUID | stat.S_ISGID)
    capable = False
    if state.st_mode & 0o111:
        with suppress(OSError):
            capable = bool(os.getxattr(path, "security.capability"))
    # of a file system that is mounted so the kernel takes neither (mount(8))
    if not (special or capable) or os.statvfs(path).f_flag & os.ST_NOSUID:
        return None
    return {"mode": oct(stat.S_IMODE(state.st_mode))[2:], "capable": capable}


def _writable(path: str, state: os.stat_result, plan: dict[str, Any]) -> str:
    """The mask of an access list stands where the group's bits do (acl(5)): whom it names is seen by them."""
    if not _below(path, plan["places"]):
        return ""
    mode = oct(stat.S_IMODE(state.st_mode))[2:]
    sticky = stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX
    if state.st_mode & 0o002:
        return f"anybody may write it ({mode})"
    if _below(path, plan["services"]) and state.st_uid < plan["least"]:
        return "" if state.st_gid < plan["least"] or not state.st_mode & 0o020 else f"its group may write it ({mode})"
    if state.st_uid != 0:
        return f"it belongs to number {state.st_uid}"
    return f"its group may write it ({mode})" if state.st_mode & 0o020 and not sticky else ""


def _below(path: str, folders: list[str]) -> bool:
    """Whether it is one of these folders, or lies in one."""
    return any(path == one or path.startswith(f"{one}/") for one in folders)


def _brought() -> dict[str, set[str]]:
    """The digests that packages say their files have."""
    found: dict[str, set[str]] = {}
    for file in Path(_INFO).glob("*.md5sums"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            found.setdefault(f"/{name}", set()).add(digest)
            # what a package brings in /bin or /lib is in /usr (file-hierarchy(7))
            found.setdefault(f"/usr/{name}", set()).add(digest)
    return found


def _digest(path: str) -> str:
    return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    print(json.dumps(roots_own(json.loads(sys.argv[1]))))
