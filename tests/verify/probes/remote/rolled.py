"""Runs on a machine as root: who may restart its services, and whether these run what is installed.

Standard library only. It changes nothing: policy-rc.d and invoke-rc.d are asked, and start nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_VERBS = ("start", "restart", "stop", "reload")


def rolled(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: services (package by name), python (those that are written in it), server (the folder of a PostgreSQL
    server's data, and its package).

    Returns `now`; `allowed`: by service that is there what a package may do to it; `outdated`: by service that runs
    another program than the installed one, since when (seconds since the epoch) that one is installed.
    """
    there = {name: pid for name in plan["services"] if (pid := _main_process(name)) is not None}
    allowed = {name: [verb for verb in _VERBS if _may(name, verb)] for name in there}
    outdated = {
        name: _unpacked(plan["services"][name])
        for name, pid in there.items()
        if pid and (_is_gone(pid) or (name in plan["python"] and _began(pid) < _unpacked(plan["services"][name])))
    }
    folder, package = plan["server"]
    postmaster = Path(folder, "postmaster.pid")
    if postmaster.exists() and _is_gone(int(postmaster.read_text(encoding="utf-8").split()[0])):
        outdated["postgres"] = _unpacked(package)
    return {"now": time.time(), "allowed": allowed, "outdated": outdated}


def _main_process(name: str) -> int | None:
    """Of a service; 0 where it does not run, None where there is none."""
    words = ("systemctl", "show", "-p", "LoadState,MainPID", f"{name}.service")
    told = dict(line.split("=", 1) for line in subprocess.check_output(words, text=True).splitlines())
    return int(told["MainPID"]) if told["LoadState"] == "loaded" else None


def _may(name: str, verb: str) -> bool:
    """By both names that Debian's helpers call it: that of invoke-rc.d(8) and that of deb-systemd-invoke(1p)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if not policy.exists():
        return True
    # Debian Policy, 9.3.3.1: 101 forbids it
    return any(subprocess.run((policy, one, verb), check=False).returncode != 101 for one in (name, f"{name}.service"))


def _is_gone(pid: int) -> bool:
    """Whether the program that a process runs has been replaced: proc_pid_exe(5)."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).endswith(" (deleted)")
    except OSError:
        return False


def _began(pid: int) -> float:
    """When a process began: proc_pid_stat(5), field 22, in ticks since boot."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    boot = next(line for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines() if line[:5] == "btime")
    return int(boot.split()[1]) + ticks / 100


def _unpacked(package: str) -> float:
    """When dpkg has put its files in place: it writes the list of them then."""
    return Path(f"/var/lib/dpkg/info/{package}.list").stat().st_mtime


if __name__ == "__main__":
    print(json.dumps(rolled(json.loads(sys.argv[1]))))
