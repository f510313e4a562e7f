"""What all labs of this machine share: the slots, and the host's settings that are changed while a lab is up.

One file under /var/lib/bastide-lab, changed under a lock, so that two labs that start at once get along.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bastide.console import run
from bastide.errors import LabError
from lab import place
from lab.place import Place, lab_id

# 128 inotify instances for each user is the kernel's default; a systemd takes about a dozen
_SYSCTLS = {"fs.inotify.max_user_instances": 8192}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made when missing); waits for its holder, who may be another process."""
    while True:
        if path.parent == place.ROOT:
            # the last lab's `down` removes the folder, perhaps in this moment
            place.ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # the holder before us may have removed the file: then our lock is on a file that nobody else will find
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                break
        os.close(handle)
    try:
        yield
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - JSON
    """Write atomically: a reader or a kill sees the old text or the new one. Mode 0600."""
    work = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    work.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; {} when the file is missing or was never finished."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def find(name: str) -> Place | None:
    """The lab of this name and checkout, when it has a slot."""
    wanted = lab_id(name)
    slot = read_json(_file()).get("slots", {}).get(wanted)
    return Place(name, wanted, slot) if isinstance(slot, int) else None


def claim(name: str) -> Place:
    """Give the lab a slot (the one it has, or the lowest free one whose addresses nobody routes) and its folder."""
    wanted = lab_id(name)
    with locked(place.ROOT / "lock"):
        known = read_json(_file())
        slots: dict[str, int] = known.setdefault("slots", {})
        # also for a lab that has its slot: the kernel forgets them when the host is booted
        changes, is_new = _low_sysctls(), wanted not in slots
        if is_new:
            taken = set(slots.values())
            for slot in range(place.SLOTS):
                if slot not in taken and not _routed(Place(name, wanted, slot)):
                    slots[wanted] = slot
                    break
            else:
                raise LabError("all 256 slots for labs are taken", "take labs away with `python -m lab down`")
        if is_new or changes:
            known["sysctls"] = {**changes, **known.get("sysctls", {})}
            # what they were is on disk before they are changed
            write_json(_file(), known)
            for sysctl in changes:
                run(["sysctl", "-q", "-w", f"{sysctl}={_SYSCTLS[sysctl]}"])
        here = Place(name, wanted, slots[wanted])
        here.machines_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return here


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Be the only one who makes or removes this lab: `up` and `down` wait for each other."""
    path = place.ROOT / f"{lab_id(name)}.lock"
    with locked(path):
        try:
            yield
        finally:
            if not find(name):
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # other labs are here
                    place.ROOT.rmdir()


def release(here: Place) -> None:
    """Give the slot back; with the last one the host's settings go back to what they were and the registry goes."""
    with locked(place.ROOT / "lock"):
        known = read_json(_file())
        slots = known.get("slots", {})
        slots.pop(here.id, None)
        if slots:
            write_json(_file(), known)
            return
        for name, value in known.get("sysctls", {}).items():
            run(["sysctl", "-q", "-w", f"{name}={value}"])
        for path in [_file(), *place.ROOT.glob(".registry.json.*")]:
            path.unlink(missing_ok=True)
        (place.ROOT / "lock").unlink()


def _file() -> Path:
    return place.ROOT / "registry.json"


def _routed(here: Place) -> bool:
    """Does somebody on this host already use the slot's addresses?"""
    routes = run(["ip", "route", "show", "root", str(here.range4)]).stdout
    routes += run(["ip", "-6", "route", "show", "root", str(here.range6)], check=False).stdout
    return bool(routes.strip())


def _low_sysctls() -> dict[str, str]:
    """The settings that are too low now, with their present values."""
    found = {name: Path("/proc/sys", *name.split(".")).read_text().strip() for name in _SYSCTLS}
    return {name: value for name, value in found.items() if int(value) < _SYSCTLS[name]}
