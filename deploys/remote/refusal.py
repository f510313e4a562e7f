"""Runs on the machine as root: what a service was refused when it ended or did not start.

Standard library only. A call that a sandbox does not let through fails with EPERM or EROFS, and the program says so in
its own words; systemd says what it could not set up, and how the process ended. Which call it was the kernel tells its
audit alone, which a container has not.
"""

from __future__ import annotations

import re
import subprocess

_LINES = 4
# systemd.exec(5), "Process Exit Codes"; and what programs say of EPERM, EROFS, EACCES and SIGSYS
_ENDED = re.compile(r"(Failed at step .*|Failed to set up .*|(?:Main|Control) process exited, .*)")
_REFUSED = re.compile(r"not permitted|read-only file system|permission denied|bad system call|status=31/SYS", re.I)


def refusal(unit: str, since: float) -> str:
    """What its log says since then (seconds of the clock), in words."""
    lines = _log("-u", unit, since=since)
    ended = [found.group(1) for line in lines if (found := _ENDED.search(line))]
    refused = [line.strip() for line in lines if _REFUSED.search(line) and not _ENDED.search(line)]
    # linux/audit.h, AUDIT_SECCOMP: `comm="haproxy" ... sig=0 arch=c000003e syscall=92`
    calls = re.findall(r"type=1326 .*?comm=(\S+) .*?syscall=(\d+)", "\n".join(_log("-k", since=since)))
    refused += [f"system call {number} of {name} (ausyscall(8) names it)" for name, number in calls]
    told = list(dict.fromkeys([*ended[:1], *(one[:300] for one in refused)]))[:_LINES]
    if not refused:
        told.append(f"its log names no refused call: journalctl -u {unit}")
    return "\n".join(f"{unit}: {line}" for line in told)


def _log(*words: str, since: float) -> list[str]:
    words = ("journalctl", "-q", "-o", "cat", "--no-pager", f"--since=@{int(since)}", *words)
    return subprocess.run(words, capture_output=True, text=True, errors="replace", check=False).stdout.splitlines()
