"""Runs on a machine as root: what services may do, by the kernel's word on their processes and by systemd's.

Standard library only. It changes nothing: nothing is written, and no process is touched.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROPERTIES = "LoadState,ActiveState,ControlGroup,SystemCallFilter"
_STATUS = ("NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Uid")
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2  # linux/capability.h
_CGROUPS = Path("/sys/fs/cgroup")


def sandboxes(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`plan`: units.

    Returns by unit `load`, `active`, `calls` (those that it may make; with ~ those that it may not), `exposure`
    ("1.3", or "" where systemd cannot say) and its `processes`.
    """
    return {unit: _service(unit) for unit in plan["units"]}


def _service(unit: str) -> dict[str, Any]:
    text = _output("systemctl", "show", "-p", _PROPERTIES, "--", unit)
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    group = told.get("ControlGroup", "")
    return {
        "load": told.get("LoadState", ""),
        "active": told.get("ActiveState", ""),
        "calls": told.get("SystemCallFilter", ""),
        "exposure": exposure(_output("systemd-analyze", "--no-pager", "security", "--", unit)),
        "processes": [one for pid in _members(group) if (one := _process(pid))] if group else [],
    }


def exposure(text: str) -> str:
    """The number in what systemd-analyze(1) says; "" where it says none."""
    last = text.rpartition("Overall exposure level for ")[2]
    return last.partition(": ")[2].partition(" ")[0]


def _members(group: str) -> list[int]:
    """All processes of a control group and of those below it."""
    found = []
    for path in (_CGROUPS / group.lstrip("/")).rglob("cgroup.procs"):
        found += [int(word) for word in path.read_text(encoding="utf-8").split()]
    return found


def _process(pid: int) -> dict[str, Any] | None:
    """One that runs; None for one that has ended meanwhile."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        told = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        mounts = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines()
        writable = _writable(pid, [line.split()[4] for line in mounts], _ids(told))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return {"name": told["Name"].strip(), "writable": writable, **{key: told[key].split()[0] for key in _STATUS}}


def _ids(told: dict[str, str]) -> tuple[int, set[int]]:
    """A process's account and groups: -1 for one that passes every folder's mode (capabilities(7))."""
    passes = int(told["CapBnd"], 16) & (_DAC_OVERRIDE | _DAC_READ_SEARCH)
    groups = {int(word) for word in (*told["Gid"].split(), *told["Groups"].split())}
    return -1 if passes else int(told["Uid"].split()[0]), groups


def _writable(pid: int, points: list[str], ids: tuple[int, set[int]]) -> list[str]:
    """The file systems that are not read-only where a process is, and that it can come into.

    What lies below another one is not seen there; what was mounted after the process began is.
    """
    names = sorted({point.encode().decode("unicode_escape") for point in points})
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        # a process of its own: who has gone into another one's file systems does not come back
        with os.fdopen(send, "w", encoding="utf-8") as answer:
            os.setns(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), os.CLONE_NEWNS)  # type: ignore[attr-defined,unused-ignore]
            json.dump([name for name in names if _takes_writes(name, *ids)], answer)
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        raise ProcessLookupError(pid)
    return list(json.loads(text))


def _takes_writes(name: str, user: int, groups: set[int]) -> bool:
    try:
        state = Path(name).stat()
        enters = (
            user == -1
            or bool(state.st_mode & 0o001)
            or (state.st_uid == user and bool(state.st_mode & 0o100))
            or (state.st_gid in groups and bool(state.st_mode & 0o010))
            or not stat.S_ISDIR(state.st_mode)
        )
        return enters and not os.statvfs(name).f_flag & os.ST_RDONLY
    except OSError:
        return False


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    print(json.dumps(sandboxes(json.loads(sys.argv[1]))))
