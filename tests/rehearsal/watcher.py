"""Looks for canaries where secrets leak while programs run: argv and environment of every process, temporary files.

Seen from the machine that the lab runs on, the processes of its machines are processes like all others, and their
files lie below /proc/<pid>/root: one watcher sees both sides.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_PAUSE_SECONDS = 0.01
_LARGEST = 1 << 20
# where programs put what they do not mean to keep
_ON_MACHINES = ("tmp", "run", "var/tmp", "etc/bastide", "var/lib/bastide")


class Watcher:
    """Samples until its block ends; `found` are the places where a canary was seen, each once."""

    def __init__(self, canaries: Iterable[str], folders: Iterable[Path], *, programs: tuple[str, ...] = ()) -> None:
        """`folders` are looked through here. `programs` are names in whose environment a canary may stand."""
        self._needles = [form for text in canaries for form in forms(text)]
        self._folders = tuple(folders)
        self._programs = programs
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.found: set[str] = set()
        self.rounds = 0

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=30)

    def _watch(self) -> None:
        while not self._done.wait(_PAUSE_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._look_at(process)
            for folder in self._folders:
                for path in _files(folder):
                    self._judge(path, readable_by_all=False)
            self.rounds += 1

    def _look_at(self, process: Path) -> None:
        if self._in((process / "cmdline").read_bytes()):
            self.found.add(f"argv: {(process / 'comm').read_text().strip()}")
        if self._in(environ := (process / "environ").read_bytes()):
            names = [line.partition(b"=")[0].decode() for line in environ.split(b"\0") if self._in(line)]
            name = f"{(process / 'comm').read_text().strip()} {','.join(names)}"
            if not any(allowed in name for allowed in self._programs):
                self.found.add(f"environ: {name}")
        if _is_machine(process):
            for folder in _ON_MACHINES:
                for path in _files(process / "root" / folder):
                    self._judge(path, readable_by_all=True)

    def _judge(self, path: Path, *, readable_by_all: bool) -> None:
        """On a machine a secret may lie where root alone can read it; here it may lie nowhere."""
        with suppress(OSError):
            info = path.lstat()
            if info.st_size > _LARGEST or not path.is_file() or path.is_symlink():
                return
            if readable_by_all and not info.st_mode & 0o077:
                return
            if self._in(path.read_bytes()):
                self.found.add(f"file: {path} {info.st_mode & 0o7777:04o}")

    def _in(self, data: bytes) -> bool:
        return any(needle in data for needle in self._needles)


def forms(secret: str) -> list[bytes]:
    """A secret as it is, and as base64 of it."""
    return [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-1]]


def _is_machine(process: Path) -> bool:
    """Whether this is process 1 of another pid namespace (proc_pid_status(5), NSpid)."""
    for line in (process / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) > 2 and line.split()[-1] == "1"
    return False


def _files(folder: Path) -> list[Path]:
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("systemd", "udev", "node_modules", ".pulumi")]
        found += [Path(here) / name for name in names]
    return found
