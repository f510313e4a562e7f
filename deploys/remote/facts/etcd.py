"""Runs on the machine: its etcd member, and what the members say of each other."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess

from deploys.remote.facts.common import at, output
from deploys.remote.facts.https import answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deploys.facts.etcd import MemberRequest, MembersState, MemberState


def etcd_member(wanted: MemberRequest) -> MemberState:
    """This machine's member. Who may come in, and who the members are, is only told where `ctl` is given."""
    found: MemberState = {
        "data": (at(wanted["data"]) / "member").is_dir(),
        "forming": at(wanted["forming"]).exists(),
        "active": output("systemctl", "is-active", "etcd.service").strip() == "active",
        "healthy": False,
        "auth": False,
        "opens": False,
        "users": [],
        "members": [],
    }
    folder = str(at(wanted["folder"]))
    with contextlib.suppress(OSError, ValueError):
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        context.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
        found["healthy"] = answer(wanted["health"], context).get("health") == "true"
    if found["healthy"] and wanted["ctl"]:
        found["auth"] = "Authentication Status: true" in output(wanted["ctl"], "auth", "status")
        found["users"] = output(wanted["ctl"], "user", "list").split()
        found["opens"] = "root" in found["users"]
        members = (_etcdctl(wanted["ctl"], "member", "list") or {}).get("members", [])
        found["members"] = [one.get("name") or one["peerURLs"][0] for one in members]
    return found


def etcd_members(ctl: str) -> MembersState:
    """What each member says of itself, and the names of all by id, asked by `ctl` (bastide-etcdctl)."""
    members = _etcdctl(ctl, "member", "list")
    names = {format(one["ID"], "x"): one.get("name", "") for one in members.get("members", [])} if members else {}
    return {"status": _etcdctl(ctl, "endpoint", "status", "--cluster") or [], "members": names}


def _etcdctl(ctl: str, *words: str) -> Any:  # noqa: ANN401 - JSON
    # a member that is away makes it fail, and it prints what the others say
    with contextlib.suppress(OSError, ValueError):
        command = ("timeout", "20", ctl, *words, "-w", "json")
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return None
