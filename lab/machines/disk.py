"""Disks: an overlay on the image, whose writable part is a file system of the size that was ordered.

A full disk is really full then (ENOSPC). Where the host has no loop devices, the writable part is a plain folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from bastide.console import run
from bastide.errors import LabError
from lab.machines.store import Record

# these lie on the real file system, not on the overlay: containers have overlays of their own, which do not stack
FOLDERS = {"containers": "/var/lib/containers", "home": "/home"}
_LOOP_SECONDS = 30.0
# linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int)
_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878


def make(record: Record, layers: tuple[Path, ...], size_gb: int) -> None:
    """Make the disk when there is none, and mount it at `record.root`."""
    if not (record.folder / "layers").exists():
        wipe(record)
        for name in ("disk", "root"):
            (record.folder / name).mkdir(mode=0o755, exist_ok=True)
        if has_loop():
            image = record.folder / "disk.img"
            image.touch(mode=0o600)
            os.truncate(image, size_gb << 30)
            # lazy: the tables of a sparse file are zero already; no reserve, so that the size is the size
            options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
            run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, image])
        (record.folder / "layers").write_text("\n".join(map(str, layers)))
    mount(record)


def mount(record: Record) -> None:
    """Mount what is not mounted yet (after the host was booted, nothing is)."""
    disk = record.folder / "disk"
    image = record.folder / "disk.img"
    if image.exists() and not disk.is_mount():
        run(["mount", "-o", "loop,noatime", image, disk])
    for name in ("upper", "work", *FOLDERS):
        (disk / name).mkdir(mode=0o755, exist_ok=True)
    if not record.root.is_mount():
        layers = (record.folder / "layers").read_text().split("\n")
        missing = [path for path in layers if not Path(path).is_dir()]
        if missing:
            raise LabError(f"the image {missing[0]} is gone", "take the lab away with `python -m lab down`, then `up`")
        options = f"lowerdir={':'.join(layers)},upperdir={disk}/upper,workdir={disk}/work"
        run(["mount", "-t", "overlay", f"bastide-{record.place.id}", "-o", options, record.root])


def grow(record: Record, size_gb: int) -> None:
    """Make the disk bigger, and the file system on it, which a provider's image grows at its next boot by itself."""
    mount(record)
    image = record.folder / "disk.img"
    if not image.exists() or image.stat().st_size >= size_gb << 30:
        return  # a plain folder is as big as the host's file system
    os.truncate(image, size_gb << 30)
    loop = run(["findmnt", "--noheadings", "--output", "SOURCE", record.folder / "disk"]).stdout.strip()
    run(["losetup", "--set-capacity", loop])
    run(["resize2fs", loop])


def wipe(record: Record) -> None:
    """Unmount and remove the disk; the machine must be off."""
    unmount_below(record.folder)
    (record.folder / "layers").unlink(missing_ok=True)
    (record.folder / "disk.img").unlink(missing_ok=True)
    shutil.rmtree(record.folder / "disk", ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        record.root.rmdir()


def freeze(folder: Path) -> None:
    """Have everything written and nothing written any more to the file system mounted there, until `thaw`."""
    _ioctl(folder, _FIFREEZE)


def thaw(folder: Path) -> None:
    """The end of `freeze`. No effect when it was not frozen."""
    with contextlib.suppress(OSError):
        _ioctl(folder, _FITHAW)


def has_loop() -> bool:
    """Does this host have loop devices?"""
    return Path("/dev/loop-control").exists()


def unmount_below(folder: Path) -> None:
    """Unmount everything at and below `folder`, the innermost first. Loop devices go with their mounts."""
    for point in reversed(_mounted_below(folder)):
        if point.endswith("/disk"):
            # a snapshot that was killed has left it frozen, and then it could not be unmounted
            thaw(Path(point))
        _drop_nspawn_lock(Path(point))
        if not run(["umount", point], check=False).ok:
            # somebody's shell stands in there: out of sight now, gone when they leave
            run(["umount", "--lazy", point])


def detach_loops(folder: Path) -> None:
    """Free the loop devices whose file lies in `folder`: those of volumes, and what a kill has left.

    One that a dead machine still has mounted goes when the kernel has taken that machine's mounts away, which is
    waited for. Those of disks go with their mounts, of which other labs' programs may have copies: they are not.
    Raises `LabError` when it does not come to that.
    """
    ours = _loops_below(folder, clearing="0")
    for device in ours:
        run(["losetup", "--detach", device], check=False)
    deadline = time.monotonic() + _LOOP_SECONDS
    while left := ours & _loops_below(folder, clearing="1"):
        if time.monotonic() > deadline:
            raise LabError(f"{', '.join(sorted(left))} cannot be freed: something has it mounted", "see `findmnt`")
        time.sleep(0.01)


def _loops_below(folder: Path, clearing: str) -> set[str]:
    """The loop devices with a file in `folder`; `clearing` is "1" for those that go when nobody uses them."""
    words = ["losetup", "--list", "--noheadings", "--output", "NAME,AUTOCLEAR,BACK-FILE"]
    rows = [line.split(maxsplit=2) for line in run(words, check=False).stdout.splitlines()]
    return {row[0] for row in rows if len(row) == 3 and row[1] == clearing and row[2].startswith(f"{folder}/")}


def _ioctl(folder: Path, request: int) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, request, 0)
    finally:
        os.close(handle)


def _drop_nspawn_lock(point: Path) -> None:
    """systemd-nspawn keeps a lock file for each folder that it ever booted; it never removes one after a kill."""
    with contextlib.suppress(OSError):
        found = point.stat()
        Path("/run/systemd/nspawn/locks", f"inode-{found.st_dev}:{found.st_ino}").unlink()


def _mounted_below(folder: Path) -> list[str]:
    # proc_pid_mountinfo(5): the fifth field is the mount point, with spaces as \040
    points = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point == str(folder) or point.startswith(f"{folder}/")]
