"""Runs on the machine as root: whether what runs is what is installed."""

from __future__ import annotations

import time

from deploys.remote.facts.common import at, entries, output, properties, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Python keeps what it has read: of a program written in it the maps do not tell
_PYTHON = {"patroni.service": ("patroni", "python3-etcd")}
# and of what we start it by
_STARTED_BY = {"patroni.service": "/usr/local/lib/bastide/patroni"}
SANDBOX = "what it may has changed since it was started"
_DROP_IN = "/etc/systemd/system/{unit}.d/bastide.conf"


def outdated(units: list[str]) -> dict[str, str]:
    """Why each unit's main process has to be started again to run what is installed, as it may; "" for no reason."""
    words = ("-p", "MainPID,ExecMainStartTimestampMonotonic")
    shown = output("systemctl", "show", *words, "--", *units).strip().split("\n\n")
    told = {unit: _why(unit, text) for unit, text in zip(units, shown, strict=False)}
    return {**dict.fromkeys(units, ""), **told}


def replaced(pid: str) -> str:
    """A file of code below /usr that a process has mapped and that has been replaced since; "" for none.

    dpkg(1) puts a new file in the place of the old one, which then has no name any more: proc_pid_maps(5).
    """
    for line in read(f"/proc/{pid}/maps").splitlines():
        words = line.removesuffix(" (deleted)").split(maxsplit=5)
        if line.endswith(" (deleted)") and "x" in words[1] and words[5:] and words[5].startswith(("/usr/", "/lib")):
            return words[5]
    return ""


def _why(unit: str, text: str) -> str:
    told = properties(text)
    pid = told.get("MainPID", "0")
    if pid == "0":
        return ""
    if path := replaced(pid):
        return f"{path} was replaced"
    # both are microseconds since the machine was booted
    began = time.time() - time.monotonic() + int(told["ExecMainStartTimestampMonotonic"]) / 1e6
    # systemd.exec(5): all of it is set up for a process that is started, and for none that runs
    if changed_since(unit, began):
        return SANDBOX
    if unit in _PYTHON:
        starter = at(_STARTED_BY[unit])
        if starter.exists() and starter.stat().st_mtime > began:
            return f"{_STARTED_BY[unit]} is another one now"
        newer = sorted(name for name, unpacked in _unpacked(_needs(*_PYTHON[unit])) if unpacked > began)
        if newer:
            return f"installed since it was started: {', '.join(newer)}"
    return ""


def changed_since(unit: str, began: float) -> bool:
    """Whether our drop-in to a unit is newer than a process that began then (seconds of the clock)."""
    drop_in = at(_DROP_IN.format(unit=unit))
    return drop_in.exists() and drop_in.stat().st_mtime > began


def _unpacked(names: set[str]) -> Iterable[tuple[str, float]]:
    """When these packages were unpacked: dpkg writes their lists of files anew then."""
    for path in entries("/var/lib/dpkg/info"):
        if path.suffix == ".list" and path.stem.partition(":")[0] in names:
            yield path.stem, path.stat().st_mtime


def _needs(*packages: str) -> set[str]:
    """These packages and all Python modules that they need, directly or not."""
    depends: dict[str, list[str]] = {}
    if at("/var/lib/dpkg/status").exists():
        for record in read("/var/lib/dpkg/status").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in record.split("\n") if ": " in line and line[:1] != " ")
            wants = fields.get("Depends", "").replace("|", ",").split(",")
            depends[fields.get("Package", "")] = [want.split()[0].partition(":")[0] for want in wants if want.split()]
    found, todo = set(packages), list(packages)
    while todo:
        fresh = {name for name in depends.get(todo.pop(), []) if name.startswith("python3-")} - found
        found |= fresh
        todo += fresh
    return found
