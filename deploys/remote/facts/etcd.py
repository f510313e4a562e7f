"""Runs on the machine: its etcd member, and what the members say of each other."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess

from deploys.remote.facts.common import at, output, properties, read
from deploys.remote.facts.https import answer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deploys.facts.etcd import DiskRequest, DiskState, MemberRequest, MembersState, MemberState


def etcd_member(wanted: MemberRequest) -> MemberState:
    """This machine's member. Who may come in, and who the members are, is only told where `ctl` is given."""
    unit = properties(output("systemctl", "show", "-p", "ActiveState,MainPID", "etcd.service"))
    found: MemberState = {
        "data": (at(wanted["data"]) / "member").is_dir(),
        "forming": at(wanted["forming"]).exists(),
        "active": unit.get("ActiveState") == "active",
        "healthy": False,
        "apart": _shows(unit.get("MainPID", "0"), wanted["peer"]),
        "trusts_both": len({read(path) for path in wanted["authorities"]} - {""}) == 1,
        "auth": False,
        "opens": False,
        "users": [],
        "members": [],
    }
    with contextlib.suppress(OSError, ValueError):
        found["healthy"] = answer(wanted["health"], _client(wanted["folder"])).get("health") == "true"
    if found["healthy"] and wanted["ctl"]:
        found["auth"] = "Authentication Status: true" in output(wanted["ctl"], "auth", "status")
        found["users"] = output(wanted["ctl"], "user", "list").split()
        found["opens"] = "root" in found["users"]
        members = (_etcdctl(wanted["ctl"], "member", "list") or {}).get("members", [])
        found["members"] = [one.get("name") or one["peerURLs"][0] for one in members]
    return found


def _shows(pid: str, certificate: str) -> bool:
    """Whether a member that runs ("0": it does not) was started with this certificate for others, or shows none."""
    environ = read(f"/proc/{pid}/environ") if pid != "0" else ""
    return not environ or f"ETCD_PEER_CERT_FILE={certificate}" in environ.split("\0")


def etcd_members(ctl: str) -> MembersState:
    """What each member says of itself, and the names of all by id, asked by `ctl` (bastide-etcdctl)."""
    members = _etcdctl(ctl, "member", "list")
    names = {format(one["ID"], "x"): one.get("name", "") for one in members.get("members", [])} if members else {}
    return {"status": _etcdctl(ctl, "endpoint", "status", "--cluster") or [], "members": names}


def etcd_disk(wanted: DiskRequest) -> DiskState | None:
    """How long the member's disk takes, by what it has counted since it was started; None for one that says nothing."""
    with contextlib.suppress(OSError):
        said = text(wanted["metrics"], _client(wanted["folder"]))
        return {
            "log": quantile(said, "etcd_disk_wal_fsync_duration_seconds", 0.99),
            "data": quantile(said, "etcd_disk_backend_commit_duration_seconds", 0.99),
        }
    return None


def quantile(metrics: str, name: str, share: float) -> float | None:
    """Which value this share of a histogram stays below, estimated within its bucket as Prometheus' histogram_quantile
    does; the last bound for what lies beyond. None where nothing was counted."""
    buckets = []
    for line in metrics.splitlines():
        if line.startswith(f'{name}_bucket{{le="'):
            most, _, number = line.removeprefix(f'{name}_bucket{{le="').partition('"} ')
            buckets.append((float(most), float(number)))
    if not buckets or not buckets[-1][1]:
        return None
    wanted, below, lower = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            return lower if bound == float("inf") else lower + (bound - lower) * (wanted - below) / (count - below)
        below, lower = count, bound
    return lower


def _client(folder: str) -> ssl.SSLContext:
    """Who comes to a member with the machine's own certificate. Raises `OSError` where there is none."""
    there = str(at(folder))
    context = ssl.create_default_context(cafile=f"{there}/ca.crt")
    context.load_cert_chain(f"{there}/server.crt", f"{there}/server.key")
    return context


def _etcdctl(ctl: str, *words: str) -> Any:  # noqa: ANN401 - JSON
    # a member that is away makes it fail, and it prints what the others say
    with contextlib.suppress(OSError, ValueError):
        command = ("timeout", "20", ctl, *words, "-w", "json")
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return None
