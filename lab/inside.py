"""`lab exec`: a command inside of a machine, entered through its namespaces. No key of the lab lies in a machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bastide.errors import LabError
from lab.machines import machine
from lab.machines.cgroups import open_tree
from lab.machines.spawn import PATH
from lab.machines.store import Record

_ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "LANG": "C.UTF-8",
}


def become(record: Record, argv: Sequence[str]) -> NoReturn:
    """Replace this process by `argv`, run as root inside of the machine. Its exit code is the command's."""
    pid, groups = _entrance(record)
    for procs in groups:
        with contextlib.suppress(OSError):
            procs.write_text("0")
    words = _words(pid, argv)
    environment = {**_ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    os.execvpe(words[0], words, environment)  # noqa: S606


def command(record: Record, argv: Sequence[str]) -> list[str]:
    """The same as a command to be run: for a program that is root and asks often, and need not start a Python for it.

    Raises `LabError` as `become` does.
    """
    pid, groups = _entrance(record)
    enter = 'while [ "$1" != -- ]; do echo 0 >"$1"; shift; done 2>/dev/null; shift; exec "$@"'
    pairs = [f"{name}={value}" for name, value in {**_ENVIRONMENT, "TERM": "dumb"}.items()]
    return ["sh", "-c", enter, "sh", *map(str, groups), "--", "env", "-i", *pairs, *_words(pid, argv)]


def _words(pid: int, argv: Sequence[str]) -> list[str]:
    # the command is looked up inside, by env(1): outside, the PATH is another one
    words = ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
    # A machine that goes down stops all that it sees for a moment (systemd, src/shared/killall.c). nsenter would stop
    # itself with its child, outside, where nobody makes it go on: the child that it never buries would keep the machine
    # from going down, for ever. A shell that waits minds no stops; what it adds
    # to the environment goes again.
    return [*words, "--no-fork", "--", "/bin/sh", "-c", 'unset PWD OLDPWD; "$@"; exit $?', "sh", "/usr/bin/env", *argv]


def _entrance(record: Record) -> tuple[int, tuple[Path, ...]]:
    """The machine's PID 1, and the files by which a process enters its groups."""
    pid, name = machine.leader(record), record.spec().name
    if not pid:
        raise LabError(f"the machine '{name}' is off", f"switch it on: python -m lab start {name}")
    if _shutting_down(pid):
        # it waits for every process it sees, and hears of the end of its own children only: a visitor costs it 10 s
        raise LabError(f"the machine '{name}' is going down", "wait until it is off or has booted again")
    return pid, _procs(record, pid)


def _shutting_down(pid: int) -> bool:
    """Has PID 1 become systemd-shutdown (or gone this moment)?"""
    try:
        # proc_pid_comm(5): 15 characters
        return Path(f"/proc/{pid}/comm").read_text().startswith("systemd-shutdow")
    except OSError:
        return True


def _procs(record: Record, pid: int) -> tuple[Path, ...]:
    """How to enter a group of the machine's own, without which systemd inside would meet a process from nowhere."""
    tree = open_tree(record.place.cgroup)
    boot = next((path.parts[0] for path, pids in tree.members(record.group) if pid in pids and path.parts), "")
    if not boot:
        return ()
    group = f"{record.group}/{boot}/payload/lab-exec"
    with contextlib.suppress(OSError):
        tree.make(group)
    return tree.procs(group)
