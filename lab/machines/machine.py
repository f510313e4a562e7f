"""Power: starting a machine, cutting it off, asking it to go down. Reads and changes what really runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from bastide.console import tail_of
from bastide.errors import LabError
from lab.machines import disk, links, private, router
from lab.machines.cgroups import Cgroups, open_tree
from lab.machines.spawn import python, spawn
from lab.machines.store import Record

# systemd(1), "Signals": what PID 1 does at SIGRTMIN+4 (poweroff.target) and SIGRTMIN+5 (reboot.target)
_POWEROFF = signal.SIGRTMIN + 4
_REBOOT = signal.SIGRTMIN + 5
# systemd-nspawn's own state on the host
_NSPAWN = Path("/run/systemd/nspawn")
_START_SECONDS = 30.0


def running(record: Record) -> bool:
    """Is the power on: does anything of the machine live?"""
    return _tree(record).populated(record.group)


def start(record: Record) -> None:
    """Switch the machine on and return when its PID 1 exists. No effect when it is on.

    Raises `LabError` with the console's last lines when it does not come that far.
    """
    with record.lock():
        tree = _tree(record)
        if tree.populated(record.group):
            return
        disk.mount(record)
        record.want_on(True)
        tree.make_fresh(record.group)
        tree.make(f"{record.group}/keeper")
        router.load_rules(record.place)
        spawn(
            python("lab.machines.supervisor", record.place.name, str(record.place.slot), str(record.id)),
            procs=tree.procs(f"{record.group}/keeper"),
            log=record.folder / "console.log",
        )
    deadline = time.monotonic() + _START_SECONDS
    while not leader(record):
        # spawn returns after the supervisor has entered its group or a moment before
        gone = not tree.populated(record.group) and time.monotonic() > deadline - _START_SECONDS + 1
        if gone or time.monotonic() > deadline:
            raise LabError(
                f"the machine {record.spec().name} does not start:\n{console(record)}",
                "run `python -m lab doctor`; the console's full text is console.log in the machine's state folder",
            )
        time.sleep(0.01)


def power_cut(record: Record) -> None:
    """Pull the plug. The cables go first: a dead machine sends no FIN and answers no ping."""
    with record.lock():
        record.want_on(False)
        unplug_all(record)
        tree = _tree(record)
        tree.kill(record.group)
        tree.remove(record.group)
        # once more: a supervisor that was just booting may have plugged in before it died
        unplug_all(record)
        links.netns_delete(record.netns)
        clear_leftovers(record.nspawn_name)


def clear_leftovers(nspawn_name: str) -> None:
    """Remove what a killed nspawn leaves on the host; version 257 refuses to start again while its mount is there."""
    for kind in ("propagate", "unix-export"):
        folder = _NSPAWN / kind / nspawn_name
        disk.unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def leftover_names() -> list[str]:
    """The nspawn names that have leftovers (or run)."""
    return sorted({path.name for path in _NSPAWN.glob("*/*")})


def shutdown(record: Record) -> None:
    """Ask PID 1 to power off. Returns at once."""
    _signal(record, _POWEROFF)


def reboot(record: Record) -> None:
    """Ask PID 1 to reboot. Returns at once."""
    _signal(record, _REBOOT)


def leader(record: Record) -> int:
    """The host's number of the machine's PID 1; 0 when there is none."""
    for pid in _tree(record).pids(record.group):
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{pid}/status").read_text()
            # proc_pid_status(5): the numbers in each nested PID namespace, from the outside in
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) == 2 and numbers[1] == "1":
                return pid
    return 0


def plug_all(record: Record) -> None:
    """Lay all cables of a machine whose namespace was just made."""
    router.plug(record)
    for card in record.plugs():
        private.plug(record, card)


def unplug_all(record: Record) -> None:
    """Pull all cables."""
    router.unplug(record)
    for card in record.plugs():
        private.unplug(record, card.nic.network_id)


def replug_public(record: Record) -> None:
    """Lay the public cable of a running machine again, after the router was made anew. The machine's side comes up
    with the addresses it is configured with."""
    with record.lock():
        links.link_delete("eth0", record.netns)
        router.plug(record)


def console(record: Record) -> str:
    """The last lines of the machine's console."""
    try:
        return tail_of((record.folder / "console.log").read_text(errors="replace"))
    except OSError:
        return ""


def _tree(record: Record) -> Cgroups:
    return open_tree(record.place.cgroup)


def _signal(record: Record, number: int) -> None:
    pid = leader(record)
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
