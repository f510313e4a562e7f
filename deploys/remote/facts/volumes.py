"""Runs on the machine: disks, and where they are mounted."""

from __future__ import annotations

import contextlib
import os
import re
import stat

from deploys.remote.facts.common import at, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.volumes import Mount


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


def devices(paths: list[str]) -> dict[str, str]:
    """The number of each block device, as `mounts` has it; "" where there is none."""
    found = dict.fromkeys(paths, "")
    for path in paths:
        with contextlib.suppress(OSError):
            info = at(path).stat()
            if stat.S_ISBLK(info.st_mode):
                found[path] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    return found


def _plain(text: str) -> str:
    """A path of a table of mounts, where blanks and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
