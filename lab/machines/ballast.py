"""The verb `fill`: a machine's disk is really full, by a file beside what the machine sees of it.

The file lies on the disk's own file system and not in the overlay, so nothing inside can find or remove it, and it
stays over reboots, as a disk that somebody has filled does.
"""

from __future__ import annotations

import os
from pathlib import Path

from bastide.errors import LabError
from lab.machines import disk
from lab.machines.store import Record

_BLOCK = 4096


def fill(record: Record, leave: int = 0) -> int:
    """Fill the disk until `leave` bytes are free; again, it is filled up (or emptied) to that. Returns what is free.

    Raises `LabError` where the disk has no size of its own: the host's would be filled.
    """
    name = record.spec().name
    if not (record.folder / "disk.img").exists():
        raise LabError(
            f"the disk of '{name}' is a folder of this host's: filling it would fill the host",
            "load loop devices (modprobe loop), then make the lab anew",
        )
    with record.lock():
        disk.mount(record)
        file = _file(record)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb") as ballast:
            more = _free(file.parent) - leave
            if more < 0:
                os.truncate(ballast.fileno(), max(0, os.fstat(ballast.fileno()).st_size + more))
            else:
                _grow(ballast.fileno(), file.parent, leave)
        return _free(file.parent)


def unfill(record: Record) -> None:
    """Give the space back. No effect when it was not filled."""
    with record.lock():
        disk.mount(record)
        _file(record).unlink(missing_ok=True)


def filled(record: Record) -> bool:
    """Is it?"""
    return _file(record).exists()


def _file(record: Record) -> Path:
    return record.folder / "disk" / "ballast"


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _grow(handle: int, folder: Path, leave: int) -> None:
    """Take space until `leave` bytes are free: what the file system's own tables need goes off in smaller pieces."""
    step = 1 << 62
    while (step := min(step, _free(folder) - leave)) >= _BLOCK:
        try:
            os.posix_fallocate(handle, os.fstat(handle).st_size, step)
        except OSError:
            step //= 2
