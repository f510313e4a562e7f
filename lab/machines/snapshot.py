"""The verbs `snapshot` and `restore`: a copy of a machine's disk, and the machine with that disk again.

A snapshot of a running machine holds what was written down at that moment, as after a power cut that loses nothing of
the page cache: its processes are stopped and its file system is frozen while the disk is copied. It belongs to the
machine and goes with it. Addresses, keys and networks are the cloud's and are not in it, and neither are volumes, as
with a cloud's own snapshots: after a `restore` they hold what they held before it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from bastide.console import run
from bastide.errors import LabError
from lab.machines import disk, machine, seed
from lab.machines.cgroups import open_tree
from lab.machines.store import Record

_SPARE = 1 << 30


def snapshot(record: Record, tag: str) -> None:
    """Keep the disk of now under this tag; one of the same tag is replaced. The machine runs on, if it runs.

    Raises `LabError` where disks have no size of their own, or when this host has no room for the copy.
    """
    target = _folder(record, tag)
    _check_disk(record)
    with record.lock():
        disk.mount(record)
        image = record.folder / "disk.img"
        _check_room(image)
        work = target.with_name(f".{tag}.work")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        with _still(record):
            _copy(image, work / "disk.img")
        shutil.copyfile(record.folder / "layers", work / "layers")
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)


def restore(record: Record, tag: str) -> None:
    """Put the disk of a snapshot back. The power is cut first, and comes back when it was on.

    Raises `LabError` with the tags that there are.
    """
    source = _folder(record, tag)
    if not source.is_dir():
        known = ", ".join(tags(record)) or "none"
        raise LabError(f"the machine '{record.spec().name}' has no snapshot '{tag}'", f"it has: {known}")
    _check_room(source / "disk.img")
    was_on = machine.running(record)
    machine.power_cut(record)
    with record.lock():
        work = record.folder / ".disk.img.work"
        _copy(source / "disk.img", work)
        disk.unmount_below(record.folder)
        work.replace(record.folder / "disk.img")
        shutil.copyfile(source / "layers", record.folder / "layers")
        disk.mount(record)
        # addresses and keys may be others since
        seed.write(record.root, record.spec())
    if was_on:
        machine.start(record)


def forget(record: Record, tag: str) -> None:
    """Remove a snapshot. No effect when there is none."""
    shutil.rmtree(_folder(record, tag), ignore_errors=True)


def tags(record: Record) -> list[str]:
    """The machine's snapshots."""
    folder = record.folder / "snapshots"
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def _folder(record: Record, tag: str) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,30}", tag):
        raise LabError(f"'{tag}' is no name for a snapshot", "use lower case letters, digits, dashes and dots")
    return record.folder / "snapshots" / tag


def _check_disk(record: Record) -> None:
    if not (record.folder / "disk.img").exists():
        raise LabError(
            f"the disk of '{record.spec().name}' is a plain folder: it has no snapshots",
            "load loop devices (modprobe loop), then make the lab anew",
        )


def _check_room(image: Path) -> None:
    needed = image.stat().st_blocks * 512 + _SPARE
    free = shutil.disk_usage(image.parent).free
    if free < needed:
        raise LabError(f"a copy needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free", "make room there")


def _copy(source: Path, target: Path) -> None:
    # a copy on write where the host's file system can do that, else the used parts only
    run(["cp", "--reflink=auto", "--sparse=always", source, target], timeout=1800)


@contextlib.contextmanager
def _still(record: Record) -> Iterator[None]:
    """Nothing in the machine runs and nothing on its disk is half-written, as long as this lasts."""
    tree = open_tree(record.place.cgroup)
    try:
        tree.freeze(record.group)
        disk.freeze(record.folder / "disk")
        yield
    finally:
        disk.thaw(record.folder / "disk")
        tree.thaw(record.group)
