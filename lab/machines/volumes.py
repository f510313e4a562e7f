"""Volumes: block devices that outlive machines. Each is a sparse file, and a loop device while it is plugged in.

The machine has it as a real block device and mounts it itself. In a machine runs no udev, so what udev would make, the
device's node and the link by its id, lie in a small file system that the machine has as /dev/disk: what is put in
there is seen at once, and stands there before the machine's first process begins.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import struct
import time
from dataclasses import replace
from pathlib import Path

from bastide.console import run
from bastide.errors import CommandFailed, LabError
from lab.backend import VolumeSpec
from lab.machines import disk, machine
from lab.machines.store import Record
from lab.machines.volume_store import Volume, find, of
from lab.place import Place

# where the machine has the folder of its devices, and what stands in it
INSIDE = "/dev/disk"
_BY_ID = "by-id"
# the first disk is the machine's own; hcloud: at most 16 volumes a server
_NAMES = [f"sd{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"]
_DISK_GROUP = 6  # Debian's `disk`, base-passwd
_FREE_SECONDS = 30.0
# linux: EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32), and "do not even flush the journal"
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2


def make(here: Place, spec: VolumeSpec) -> None:
    """Make it, with a file system when one is asked for. No effect when it exists.

    Raises `LabError` where this host has no loop devices, or lacks what makes the file system.
    """
    if find(here, spec.id):
        return
    if not disk.has_loop():
        raise LabError("this host has no loop devices, and so no volumes", "modprobe loop")
    if spec.format and not shutil.which(f"mkfs.{spec.format}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        package = {"xfs": "xfsprogs"}.get(spec.format, "e2fsprogs")
        raise LabError(f"this host cannot make a file system of type {spec.format}", f"sudo apt-get install {package}")
    volume = Volume(here, spec)
    # what a kill has left half-made
    shutil.rmtree(volume.folder, ignore_errors=True)
    volume.folder.mkdir(mode=0o700, parents=True)
    volume.image.touch(mode=0o600)
    os.truncate(volume.image, spec.size_gb << 30)
    if spec.format == "ext4":
        run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", volume.image])
    elif spec.format:
        run([f"mkfs.{spec.format}", "-q", volume.image])
    volume.save()


def remove(here: Place, number: int) -> None:
    """Remove it with all that is on it. No effect when it does not exist."""
    pull(here, number)
    folder = here.volumes_folder / str(number)
    # first: what is left of a kill in the middle is no volume
    (folder / "volume.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def resize(here: Place, number: int, size_gb: int) -> None:
    """Make it bigger; its loop device follows. What is on it has to be grown by who uses it, as in the cloud."""
    volume = _existing(here, number)
    if volume.image.stat().st_size < size_gb << 30:
        os.truncate(volume.image, size_gb << 30)
    replace(volume, spec=replace(volume.spec, size_gb=size_gb)).save()
    for loop in _loops(volume):
        run(["losetup", "--set-capacity", loop])


def plug(record: Record, number: int) -> None:
    """Plug it into a machine, at once when that runs. Raises `LabError` when it is in another one."""
    volume = _existing(record.place, number)
    if volume.machine not in (None, record.id):
        raise LabError(f"volume {number} is in machine {volume.machine}", "detach it there first")
    with record.lock():
        volume = replace(volume, machine=record.id)
        volume.save()
        # a machine that is switched on later gets it then
        if machine.running(record) and _devices(record).is_mount():
            _show(record, volume)


def plug_all(record: Record) -> None:
    """Lay out a machine's devices before it boots, anew; the lock is held."""
    folder = _devices(record)
    folder.mkdir(mode=0o755, exist_ok=True)
    disk.unmount_below(folder)
    # the host's own file systems may have been mounted without devices (nodev); nspawn takes what is mounted here
    run(["mount", "-t", "tmpfs", "-o", "mode=755,size=64k", f"bastide-{record.place.id}", folder])
    (folder / _BY_ID).mkdir(mode=0o755)
    for volume in of(record):
        _show(record, volume)


def devices_bind(record: Record) -> str:
    """The word that has nspawn give a machine the folder of its devices: read-only, unlike the devices themselves."""
    return f"--bind-ro={_devices(record)}:{INSIDE}"


def pull(here: Place, number: int) -> None:
    """Pull it out of its machine, whatever that does with it: what it has not written yet is lost.

    No effect when it is in none.
    """
    volume = find(here, number)
    if volume is None or volume.machine is None:
        return
    record = Record(here, volume.machine)
    with record.lock():
        _hide(record, volume)
        # a kill may have left a second one
        for loop in _loops(volume):
            _release(record, volume, loop)
        replace(volume, machine=None).save()


def pull_all(record: Record) -> None:
    """Pull all of a machine's volumes out."""
    for volume in of(record):
        pull(record.place, volume.spec.id)


def _existing(here: Place, number: int) -> Volume:
    volume = find(here, number)
    if volume is None:
        raise LabError(f"the lab has no volume number {number}", "see `python -m lab status`")
    return volume


def _devices(record: Record) -> Path:
    return record.folder / "devices"


# the device of an image ($1), made when there is none; one that goes when nobody uses it any more is none
_ONE_LOOP = """\
losetup --noheadings --output NAME,AUTOCLEAR --associated "$1" |
    while read -r name clear; do [ "$clear" = 1 ] || echo "$name"; done | head -n 1 | grep . ||
    exec losetup --find --show "$1"
"""


def _show(record: Record, volume: Volume) -> None:
    """Make the loop device, its node in the machine and the link to it. No effect on what is there."""
    folder, link = _devices(record), _link(record, volume)
    if link.is_symlink():
        return
    # under a lock that its program holds, too: one that outlives us, who were killed, is waited for by the next try
    loop = run(["flock", volume.folder / ".loop.lock", "sh", "-c", _ONE_LOOP, "sh", volume.image]).stdout.strip()
    name = next(name for name in _NAMES if not (folder / name).exists())
    # mknod(2) minds the umask
    os.mknod(folder / name, 0o660 | stat.S_IFBLK, Path(loop).stat().st_rdev)
    (folder / name).chmod(0o660)
    os.chown(folder / name, 0, _DISK_GROUP)
    link.symlink_to(f"../{name}")


def _hide(record: Record, volume: Volume) -> None:
    if not machine.running(record):
        disk.unmount_below(_devices(record))  # laid out anew before it boots
        return
    link = _link(record, volume)
    if link.is_symlink():
        (_devices(record) / link.readlink().name).unlink(missing_ok=True)
        link.unlink()


def _link(record: Record, volume: Volume) -> Path:
    """The link to a volume in the folder of devices, which the machine's root could have made writable for itself."""
    folder = _devices(record) / _BY_ID
    if folder.is_symlink():
        raise LabError(f"{folder} is a symbolic link: it would lead out of the machine", "reboot the machine")
    return folder / volume.link


def _release(record: Record, volume: Volume, loop: str) -> None:
    """Have nothing reach the volume's file through the loop device any more, and give the device back.

    A file system that a running machine has mounted is shut down, as when the disk is gone: no more is read or
    written, and the next to mount it recovers its journal. A dead machine's mounts go by themselves.
    """
    deadline = time.monotonic() + _FREE_SECONDS
    why = "something on this host has it mounted"
    while _in_use(loop):
        if machine.running(record):
            why = _shut_down(volume, loop)
            if not why:
                _unmount_inside(record, loop)
                break
        if time.monotonic() > deadline:
            raise LabError(f"volume {volume.spec.id} cannot be pulled out ({loop}): {why}", "unmount it first")
        time.sleep(0.02)
    # one that is still held (by a process that has a file of it open) goes when it is let go, and nobody else gets it
    run(["losetup", "--detach", loop], check=False)


def _in_use(loop: str) -> bool:
    """Has anybody it mounted, in whatever namespace? Linux gives nobody else a claimed device (open(2), O_EXCL)."""
    try:
        os.close(os.open(loop, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def _shut_down(volume: Volume, loop: str) -> str:
    """Returns "" or why it was not possible now: it is no file system that can be, or it is just being unmounted.

    It is mounted here too for a moment: a second mount of a device is the same file system.
    """
    point = volume.folder / "pulled"
    point.mkdir(mode=0o700, exist_ok=True)
    try:
        run(["mount", loop, point])
        handle = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)
    except CommandFailed as error:
        return error.message
    except OSError as error:
        return str(error)
    finally:
        # what a kill has left there, too
        disk.unmount_below(point)
    return ""


def _unmount_inside(record: Record, loop: str) -> None:
    """What systemd does in a machine with udev when a device goes: it unmounts what was mounted from it."""
    number = Path(loop).stat().st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    pid = machine.leader(record)
    with contextlib.suppress(OSError):
        lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        # proc_pid_mountinfo(5): the third field is the device, the fifth the mount point
        for point in reversed([words[4].replace("\\040", " ") for words in lines if words[2] == wanted]):
            run(["nsenter", f"--target={pid}", "--mount", "umount", "--", point], check=False, timeout=20)


def _loops(volume: Volume) -> list[str]:
    """The loop devices of the volume. One that was given back and is still held does not count."""
    words = ["losetup", "--noheadings", "--output", "NAME,AUTOCLEAR", "--associated", str(volume.image)]
    rows = [line.split() for line in run(words).stdout.splitlines()]
    return [name for name, clearing in rows if clearing == "0"]
