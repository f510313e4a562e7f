"""Runs on the machine: disks, and where they are mounted."""

from __future__ import annotations

import contextlib
import os
import re
import stat

from deploys.remote.facts.common import at, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from deploys.facts.volumes import Mount

_CAP_SYS_RESOURCE = 24  # capabilities(7), linux/capability.h


def mounts(paths: list[str]) -> dict[str, Mount | None]:
    """What is mounted at each path; `None` where nothing is."""
    found: dict[str, Mount | None] = dict.fromkeys(paths)
    # proc_pid_mountinfo(5); a later line lies over an earlier one
    for line in read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        words, (kind, source, *_) = before.split(), after.split()
        point = _plain(words[4])
        if point in found:
            options = words[5].split(",")
            found[point] = {"device": words[2], "source": _plain(source), "type": kind, "options": options}
    return found


def fstab(paths: list[str]) -> dict[str, str]:
    """The line of /etc/fstab for each path (fstab(5)), with single spaces; "" where there is none."""
    found = dict.fromkeys(paths, "")
    for line in read("/etc/fstab").splitlines():
        words = line.split()
        if len(words) > 3 and not words[0].startswith("#") and _plain(words[1]) in found:
            found[_plain(words[1])] = " ".join(words)
    return found


def devices(paths: list[str]) -> dict[str, str]:
    """The number of each block device, as `mounts` has it; "" where there is none."""
    found = dict.fromkeys(paths, "")
    for path in paths:
        with contextlib.suppress(OSError):
            info = at(path).stat()
            if stat.S_ISBLK(info.st_mode):
                found[path] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    return found


def room(paths: list[str]) -> dict[str, int]:
    """By how many bytes each device is bigger than the ext4 file system on it; 0 for no such device or file system.

    0 as well in a container that may grow none while it is mounted: that takes CAP_SYS_RESOURCE (ext4_resize_begin).
    """
    found = dict.fromkeys(paths, 0)
    rights = re.search(r"^CapEff:\s*(\w+)", read("/proc/self/status"), re.MULTILINE)
    may = rights is not None and int(rights[1], 16) >> _CAP_SYS_RESOURCE & 1
    for path in paths if may else ():
        with contextlib.suppress(OSError), at(path).open("rb") as device:
            found[path] = max(device.seek(0, os.SEEK_END) - _ext4_bytes(device), 0)
    return found


def _ext4_bytes(device: BinaryIO) -> int:
    """How large the file system is, by its superblock (linux: Documentation/filesystems/ext4/super.rst).

    Raises `OSError` for another one.
    """
    device.seek(1024)
    block = device.read(1024)
    if block[0x38:0x3A] != b"\x53\xef":
        raise OSError("no ext4")
    low, high, size = (int.from_bytes(block[where : where + 4], "little") for where in (0x4, 0x150, 0x18))
    return (low | high << 32) * (1024 << size)


def _plain(text: str) -> str:
    """A path of a table of mounts, where blanks and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
