"""Looks for canaries where secrets leak while programs run: argv and environment of every process, temporary files.

Seen from the machine that the lab runs on, the processes of its machines are processes like all others, and their
files lie below /proc/<pid>/root: one watcher sees both sides.
"""

from __future__ import annotations

import base64
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

# after a look as long again: two looks that never pause would slow down what they look at, and neighbours
_PAUSE_SECONDS = 0.01
# what was written a moment ago may be written again within the same tick of the file system's clock
_SETTLED_SECONDS = 2.0
_LARGEST = 1 << 20
_DULL = {"systemd", "udev", "node_modules", "plugins"}
# where programs put what they do not mean to keep
_ON_MACHINES = ("tmp", "run", "var/tmp", "etc/bastide", "var/lib/bastide")


class Watcher:
    """Samples until its block ends; `found` are the places where a canary was seen, each once.

    `rounds` counts how often all processes were looked at, `machines` are those whose files were looked through. What
    is as it was when it was last looked at is not searched again.
    """

    def __init__(
        self,
        canaries: Iterable[str],
        folders: Iterable[Path],
        *,
        without: Path,
        lab: str,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        """`folders` are looked through here, but for the folder `without` and those above it.

        `lab` is the id of the lab whose machines are looked into; `allowed` are variables in which a canary may stand.
        """
        self._needles = [form for text in canaries for form in forms(text)]
        self._folders = tuple(folders)
        self._without = without
        self._lab = lab
        self._allowed = allowed
        self._done = threading.Event()
        # processes are gone sooner than files: they are looked at more often
        self._threads = [
            threading.Thread(target=self._repeat, args=(look,), daemon=True) for look in (self._processes, self._files)
        ]
        self.found: set[str] = set()
        self.seen_allowed: set[str] = set()
        self.machines: set[Path] = set()
        self.rounds = 0
        self._processes_known: dict[Path, tuple[bytes, bytes]] = {}
        self._files_known: dict[Path, tuple[int, ...]] = {}

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _repeat(self, look: Callable[[], None]) -> None:
        took = 0.0
        while not self._done.wait(max(_PAUSE_SECONDS, took)):
            began = time.monotonic()
            look()
            took = time.monotonic() - began

    def _processes(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                self._look_at(process)
        self.rounds += 1

    def _files(self) -> None:
        for folder in self._folders:
            for path in _below(folder, self._without):
                self._judge(path, readable_by_all=False)
        for machine in tuple(self.machines):
            for name in _ON_MACHINES:
                for path in _below(machine / "root" / name):
                    self._judge(path, readable_by_all=True)

    def _look_at(self, process: Path) -> None:
        command, environ = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        if self._processes_known.get(process) == (command, environ):
            return
        if self._in(command):
            self.found.add(f"argv: {(process / 'comm').read_text().strip()}")
        if self._in(environ):
            names = {line.partition(b"=")[0].decode() for line in environ.split(b"\0") if self._in(line)}
            if names - self._allowed:
                self.found.add(f"environ: {(process / 'comm').read_text().strip()} {','.join(sorted(names))}")
            self.seen_allowed |= names & self._allowed
        if process not in self.machines and _is_machine(process, self._lab):
            self.machines.add(process)
        self._processes_known[process] = command, environ

    def _judge(self, path: Path, *, readable_by_all: bool) -> None:
        """On a machine a secret may lie where root alone can read it; here it may lie nowhere."""
        with suppress(OSError):
            info = path.lstat()
            if info.st_size > _LARGEST or not stat.S_ISREG(info.st_mode):
                return
            now = info.st_dev, info.st_ino, info.st_size, info.st_ctime_ns
            if self._files_known.get(path) == now:
                return
            if readable_by_all and (not info.st_mode & 0o077 or _is_credential(path, info.st_mode)):
                return
            if self._in(path.read_bytes()):
                self.found.add(f"file: {path} {info.st_mode & 0o7777:04o}")
            # any change of content or mode sets the time of the change (inode(7)), and nobody can set that one back
            if time.time() - info.st_ctime > _SETTLED_SECONDS:
                self._files_known[path] = now

    def _in(self, data: bytes) -> bool:
        return any(needle in data for needle in self._needles)


def _is_credential(path: Path, mode: int) -> bool:
    """Whether systemd put it there for one unit's account (systemd.exec(5), LoadCredential): who may read it stands in
    access lists, which show as the group's rights; others have none, on the file or its folder."""
    return "/run/credentials/" in str(path) and not (mode | path.parent.stat().st_mode) & 0o007


def forms(secret: str) -> list[bytes]:
    """A secret as it is, and as base64 of it."""
    return [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-1]]


def _is_machine(process: Path, lab: str) -> bool:
    """Whether this is process 1 of a machine of that lab (proc_pid_status(5), NSpid)."""
    if lab not in (process / "cgroup").read_text():
        return False
    for line in (process / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) > 2 and line.split()[-1] == "1"
    return False


def _below(folder: Path, without: Path = Path("/nowhere")) -> list[Path]:
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _DULL and not without.is_relative_to(Path(here) / name)]
        found += [Path(here) / name for name in names]
    return found
