"""Control groups: what lets a lab find and end all of its processes, and nobody else's.

One tree for each lab, one group in it for each machine. Two kinds of host: the pure version 2 of today's Debian, and
the older hybrid (a version 2 hierarchy beside the named systemd one). Where systemd is PID 1 the tree is a scope that
systemd has delegated (cgroups(7), systemd.resource-control(5) "Delegate="), else a group at the top.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bastide.console import run
from bastide.errors import LabError
from lab.machines.spawn import spawn

MOUNT = Path("/sys/fs/cgroup")
_SYSTEMD_RUNS = Path("/run/systemd/system")


@dataclass(frozen=True)
class Cgroups:
    """A lab's tree. `tops` are its top folders, one a hierarchy; the first is version 2 and answers all questions.

    A group is named by its path below the top ("m5/boot1"). `V1Hybrid` and `V2` differ in the folders only.
    """

    tops: tuple[Path, ...]

    def make(self, group: str) -> None:
        """Make the group (and its parents) in each hierarchy."""
        for top in self.tops:
            (top / group).mkdir(parents=True, exist_ok=True)

    def make_fresh(self, group: str) -> None:
        """Make the group anew. After a kill the old one is poisoned: each process cloned into it dies (cgroup.kill)."""
        self.remove(group)
        self.make(group)

    def procs(self, group: str) -> tuple[Path, ...]:
        """The files that a process writes "0" into to enter the group."""
        return tuple(top / group / "cgroup.procs" for top in self.tops)

    def populated(self, group: str) -> bool:
        """Does any process live in the group or below?"""
        try:
            return "populated 1" in (self.tops[0] / group / "cgroup.events").read_text()
        except OSError:
            return False

    def pids(self, group: str = "") -> Iterator[int]:
        """All processes in the group and below."""
        for _, found in self.members(group):
            yield from found

    def members(self, group: str = "") -> Iterator[tuple[Path, list[int]]]:
        """The group and each below it, as the path from the group, with its own processes."""
        top = self.tops[0] / group
        # os.walk and not rglob, which gives up at the first group that goes while it looks: a machine makes and
        # removes many of them as it boots
        for folder, _, _ in os.walk(top):
            with contextlib.suppress(OSError):
                words = Path(folder, "cgroup.procs").read_text().split()
                yield Path(folder).relative_to(top), [int(word) for word in words]

    def kill(self, group: str, timeout: float = 10.0) -> None:
        """Kill all processes in the group and below at one stroke, and wait until they are gone.

        Raises `LabError` when they are not gone after `timeout` seconds.
        """
        try:
            (self.tops[0] / group / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            return
        if not self.wait_empty(group, timeout):
            raise LabError(f"processes in {self.tops[0] / group} survive a kill", "see `cat cgroup.procs` there")

    def freeze(self, group: str, timeout: float = 10.0) -> None:
        """Stop all processes in the group and below, until `thaw`; no effect when there is none.

        Raises `LabError` when they have not stopped after `timeout` seconds; they go on then.
        """
        if not self.populated(group):
            return
        (self.tops[0] / group / "cgroup.freeze").write_text("1")
        deadline = time.monotonic() + timeout
        while "frozen 1" not in (self.tops[0] / group / "cgroup.events").read_text():
            if time.monotonic() > deadline:
                self.thaw(group)
                raise LabError(f"processes in {self.tops[0] / group} do not stop", "try again, or switch it off first")
            time.sleep(0.005)

    def thaw(self, group: str) -> None:
        """Let them go on. No effect when they were not stopped."""
        with contextlib.suppress(OSError):
            (self.tops[0] / group / "cgroup.freeze").write_text("0")

    def wait_empty(self, group: str, timeout: float) -> bool:
        """Wait until no process is left in the group. False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        while self.populated(group):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def remove(self, group: str = "") -> None:
        """Remove the group and all below. There must be no process left."""
        for top in self.tops:
            folders = sorted((path for path in (top / group).rglob("*") if path.is_dir()), reverse=True)
            for folder in [*folders, top / group]:
                _rmdir(folder)


def kind(mount: Path = MOUNT) -> str:
    """ "v2", "hybrid", or "" when this host has neither."""
    if (mount / "cgroup.controllers").exists():
        return "v2"
    if (mount / "unified" / "cgroup.controllers").exists() and (mount / "systemd").is_dir():
        return "hybrid"
    return ""


def hierarchies(mount: Path = MOUNT) -> tuple[Path, ...]:
    """The folders in which a lab's tree must exist, version 2 first. Raises `LabError` on other hosts."""
    found = kind(mount)
    if not found:
        raise LabError(
            "this machine has no version 2 control groups",
            "boot without systemd.unified_cgroup_hierarchy=0 and cgroup_no_v1, or use Debian 12 or newer",
        )
    return (mount,) if found == "v2" else (mount / "unified", mount / "systemd")


def open_tree(name: str, *, make: bool = True, mount: Path = MOUNT) -> Cgroups:
    """The lab's tree. With `make` it is made when missing; under systemd that starts a delegated scope."""
    roots = hierarchies(mount)
    if not _SYSTEMD_RUNS.is_dir():
        tree = Cgroups(tuple(root / name for root in roots))
    else:
        path = _scope_path(name)
        if not path and make:
            path = _start_scope(name)
        tree = Cgroups(tuple(root / (path or f"/system.slice/{name}.scope").lstrip("/") for root in roots))
    if make:
        tree.make("")
    return tree


def close_tree(name: str) -> None:
    """End every process of the lab, whoever started it, and remove its groups."""
    tree = open_tree(name, make=False)
    tree.kill("")
    with contextlib.suppress(OSError):
        tree.remove()
    if _SYSTEMD_RUNS.is_dir():
        # an emptied scope goes by itself; this forgets one that failed
        run(["systemctl", "stop", f"{name}.scope"], check=False)
        run(["systemctl", "reset-failed", f"{name}.scope"], check=False)


def enter_argv(procs: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """A command that enters the groups, given by their `cgroup.procs`, and becomes `argv`."""
    script = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 1; shift; done; shift; exec "$@"'
    return ["sh", "-c", script, "sh", *map(str, procs), "--", *argv]


def _scope_path(name: str) -> str:
    return run(["systemctl", "show", "--property=ControlGroup", "--value", f"{name}.scope"], check=False).stdout.strip()


def _start_scope(name: str) -> str:
    """Start the scope with a process that holds it, and move that one out of the way.

    A version 2 group with processes cannot hand controllers to its children, so the top must stay empty.
    """
    argv = ["systemd-run", "--quiet", "--scope", f"--unit={name}", "--property=Delegate=yes", "--collect"]
    spawn([*argv, "--", shutil.which("sleep") or "/usr/bin/sleep", "infinity"])
    deadline = time.monotonic() + 10
    while not (path := _scope_path(name)):
        if time.monotonic() > deadline:
            raise LabError(f"systemd did not start {name}.scope", f"see `systemctl status {name}.scope`")
        time.sleep(0.02)
    tree = Cgroups(tuple(root / path.lstrip("/") for root in hierarchies()))
    tree.make("holder")
    for pid in list(tree.pids()):
        for procs in tree.procs("holder"):
            with contextlib.suppress(OSError):
                procs.write_text(str(pid))
    return path


def _rmdir(folder: Path) -> None:
    """Remove one group. The kernel may need a moment after its last process is gone (EBUSY)."""
    deadline = time.monotonic() + 2
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
