"""Runs on a machine as root, after sshd_config.py: the ssh servers that listen, whatever they are called, and whether
the one of the unit has read its files since they were changed."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.sshd_config import files, unknown

_SPEAKS_SECONDS = 1.0


def running(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: config, unit, known ([port, units] of what the platform has listening, which is not knocked at).

    Returns `unit` (pid, program, command line, `read`: when it last read its files, `written`: when these were last
    changed, as seconds since the epoch, `other`: files that it sees others in the place of, `loaded`: code that no
    package brought), `servers` (of each that listens for ssh: pid, address, port, program), `unknown` criteria of Match
    blocks.
    """
    known = {(port, unit) for port, units in plan["known"] for unit in units}
    with ThreadPoolExecutor(16) as pool:
        servers = [one for one in pool.map(lambda one: _server(one[0], one[1], one[2], known), _listening()) if one]
    return {"unit": _unit(plan), "servers": servers, "unknown": unknown(plan["config"])}


def _unit(plan: dict[str, Any]) -> dict[str, Any]:
    names = "MainPID,ExecMainStartTimestamp,StateChangeTimestamp,StateChangeTimestampMonotonic"
    words = ("systemctl", "show", "--timestamp=unix", "-p", names, plan["unit"])
    told = dict(line.split("=", 1) for line in subprocess.check_output(words, text=True).splitlines())
    pid = int(told["MainPID"])
    # whole seconds, and to the microsecond by another clock: a second is long enough to put a file back
    times: list[float] = [int(told[key].lstrip("@") or 0) for key in ("ExecMainStartTimestamp", "StateChangeTimestamp")]
    times.append(time.time() - time.monotonic() + int(told["StateChangeTimestampMonotonic"] or 0) / 1e6)
    paths = files(plan["config"])
    # a file's own change cannot be dated back, and what was there and is gone is seen on its folder
    written = [path.stat().st_ctime for path in paths] + [path.stat().st_mtime for path in {p.parent for p in paths}]
    return {
        "pid": pid,
        "program": _program(pid),
        "line": _line(pid),
        "read": max(times),
        "written": max(written, default=0),
        "other": _seen_otherwise(pid, plan["config"], paths) if pid else [],
        "loaded": _loaded(pid) if pid else [],
    }


def _seen_otherwise(pid: int, config: str, paths: list[Path]) -> list[str]:
    """Files that the server reads others in the place of: it may have been given another view of the file system."""
    root = Path(f"/proc/{pid}/root")
    folder = Path(f"{config}.d")
    named = {*paths, *folder.glob("*"), *(Path(f"/{p.relative_to(root)}") for p in Path(f"{root}{folder}").glob("*"))}
    found = []
    for path in sorted(named):
        try:
            if not path.samefile(f"{root}{path}"):
                found.append(str(path))
        except OSError:
            found.append(str(path))
    return found


def _loaded(pid: int) -> list[str]:
    """Code that a process runs and that no package brought as it is, and what would have more of it loaded (ld.so(8)).

    What was replaced since waits for a restart, which other checks ask for.
    """
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    code = {line.split(maxsplit=5)[5] for line in maps if "x" in line.split()[1] and line.count("/")}
    gone = " (deleted)"
    paths = {path.removesuffix(gone) for path in code}
    brought = _brought(paths)
    found = [
        path.removesuffix(gone)
        for path in code
        if path.removesuffix(gone) not in brought or (not path.endswith(gone) and _digest(path) not in brought[path])
    ]
    words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    told = [word for word in words if word.startswith(("LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH="))]
    every = Path("/etc/ld.so.preload")
    return sorted([*found, *told, *([str(every)] if every.exists() and every.read_text().strip() else [])])


def _brought(paths: set[str]) -> dict[str, set[str]]:
    """The digests that packages say these files have; what one brings in /lib is in /usr/lib (file-hierarchy(7))."""
    found: dict[str, set[str]] = {}
    for file in Path("/var/lib/dpkg/info").glob("*.md5sums"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            for path in {f"/{name}", f"/usr/{name}"} & paths:
                found.setdefault(path, set()).add(digest)
    return found


def _digest(path: str) -> str:
    return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()


def _listening() -> list[tuple[str, int, int]]:
    """Address, port and process of everything that listens on TCP."""
    found = []
    for line in subprocess.check_output(("ss", "-Hltnp"), text=True).splitlines():
        address, _, port = line.split()[3].rpartition(":")
        pids = {int(word) for word in re.findall(r"pid=(\d+)", line)}
        found += [(address.replace("[", "").replace("]", ""), int(port), pid) for pid in pids or {0}]
    return found


def _server(address: str, port: int, pid: int, known: set[tuple[int, str]]) -> dict[str, Any] | None:
    """None for what is no ssh server."""
    program = _program(pid)
    called = Path(program.removesuffix(" (deleted)")).name in ("sshd", "dropbear")
    if not called and ((port, _unit_of(pid)) in known or not _speaks(address, port)):
        return None
    return {"pid": pid, "address": address, "port": port, "program": program}


def _speaks(address: str, port: int) -> bool:
    """RFC 4253, 4.2: a server says this first, unasked."""
    own = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    try:
        with socket.create_connection((own, port), _SPEAKS_SECONDS) as to:
            to.settimeout(_SPEAKS_SECONDS)
            return to.recv(4) == b"SSH-"
    except OSError:
        return False


def _unit_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").strip().rpartition("/")[2]
    except OSError:
        return ""


def _program(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return ""


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    print(json.dumps(running(json.loads(sys.argv[1]))))
