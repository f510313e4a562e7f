"""Runs on the machine: its Patroni."""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
from pathlib import Path

from deploys.remote.facts.common import at, output, read
from deploys.remote.facts.https import answer
from deploys.remote.facts.programs import outdated, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deploys.facts.patroni import Outdated, PatroniRequest, PatroniState


_UNIT = "patroni.service"
_LIMITS = ("CapBnd:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:")


def patroni(wanted: PatroniRequest) -> PatroniState:
    """What it says of itself, of the cluster, and of the settings that all members share; and whose data lie there."""
    said: dict[str, Any] = dict.fromkeys(("patroni", "cluster", "config"))
    context = None
    for name in said:
        with contextlib.suppress(OSError, ValueError):
            context = context or ssl.create_default_context(cafile=str(at(wanted["ca"])))
            said[name] = answer(f"{wanted['url']}/{name}", context)
    data = at(wanted["data"])
    return {
        "memory_mb": _memory_mb(),
        "patroni": said["patroni"],
        "cluster": said["cluster"],
        "config": said["config"],
        "knows": said["config"] is not None and said["config"] == _json(data / "patroni.dynamic.json"),
        "data": _data_of(data),
        "installed": output("/usr/lib/postgresql/17/bin/postgres", "--version").strip(),
        "outdated": outdated_part(data),
    }


def outdated_part(data: Path) -> Outdated:
    """What has to be started again to run what is installed: Patroni, with its server, or that alone."""
    if outdated([_UNIT])[_UNIT]:
        return "patroni"
    postmaster = read(data / "postmaster.pid").split("\n", 1)[0].strip()
    return "postgres" if postmaster.isdigit() and (replaced(postmaster) or _elsewhere(postmaster)) else ""


def _elsewhere(postmaster: str) -> bool:
    """Whether the server may other things than its Patroni: it outlives one that is killed (KillMode=process)."""
    main = output("systemctl", "show", "-P", "MainPID", "--", _UNIT).strip()
    limits = [_limits(pid) for pid in (main, postmaster)]
    return bool(limits[0]) and bool(limits[1]) and limits[0] != limits[1]


def _limits(pid: str) -> list[str]:
    """What a process may, as far as the kernel tells it: proc_pid_status(5)."""
    return [line for line in read(f"/proc/{pid}/status").splitlines() if line.startswith(_LIMITS)]


def _data_of(folder: Path) -> str:
    """Whose data lie in a data directory: a system identifier, "?" for what is no whole one, "" for none."""
    with contextlib.suppress(OSError):
        # the first field of ControlFileData (PostgreSQL 17, src/include/catalog/pg_control.h), in the machine's order
        text = (folder / "global/pg_control").read_bytes()[:8]
        return str(int.from_bytes(text, sys.byteorder))
    with contextlib.suppress(OSError):
        return "?" if any(folder.iterdir()) else ""
    return ""


def _json(path: Path) -> Any:  # noqa: ANN401 - JSON
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None


def _memory_mb() -> int:
    lines = read("/proc/meminfo").splitlines()
    return int(next((line.split()[1] for line in lines if line.startswith("MemTotal:")), 0)) // 1024
