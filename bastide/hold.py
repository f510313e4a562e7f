"""Runs on a machine as root: says who changes it, for as long as the ssh session of whoever does lives.

A deploy holds the machines that it changes, a resize all of them. Standard library only, since it is sent to the
machine as it stands here. The record names the ssh session that this script runs in, by process and start time. Nobody
has to give it back: when the session is over, also because the operator's machine died, it speaks of nobody any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

ROOT = Path("/")
RECORD = "run/bastide-deploy.json"


def hold(who: str, run: str = "") -> None:
    """Print {} and record this session as the one that deploys, or print the record of the one that does already.

    `run`: a word of this run's own, with which it can `release` what it holds over another session.
    """
    path = ROOT / RECORD
    mine = session()
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        other = read(file.read())
        if other and other["session"] != mine and alive(other["session"]):
            print(json.dumps(other))
            return
        file.seek(0)
        file.truncate()
        json.dump({"who": who, "since": int(time.time()), "session": mine, "run": run}, file)
    print("{}")


def release(run: str) -> None:
    """Hold the machine no longer, though the session of this run may still be there; what another run holds stays."""
    with open(os.open(ROOT / RECORD, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        record = read(file.read())
        if record and record.get("run") == run:
            file.truncate(0)


def session() -> list[int]:
    """Process id and start time of the ssh session that this runs in; of the outermost process where there is none."""
    pid = os.getpid()
    while True:
        parent = int(stat(pid)[1])
        if parent <= 1 or name(pid).startswith("sshd"):
            return [pid, started(pid)]
        pid = parent


def alive(process: list[int]) -> bool:
    """Whether this very process is still there: a number may have been given to another one since."""
    try:
        return started(process[0]) == process[1]
    except OSError:
        return False


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22)."""
    return int(stat(pid)[19])


def name(pid: int) -> str:
    """Its name."""
    return (ROOT / f"proc/{pid}/comm").read_text().strip()


def stat(pid: int) -> list[str]:
    """proc_pid_stat(5) from field 3 on; the name in field 2 may hold spaces and parentheses."""
    return (ROOT / f"proc/{pid}/stat").read_text().rpartition(")")[2].split()


def read(text: str) -> dict[str, Any] | None:
    """A record; None for what is none (a machine that lost its power while it was written)."""
    try:
        record = json.loads(text)
        return record if len(record["session"]) == 2 and record["who"] else None
    except (ValueError, TypeError, KeyError):
        return None
