"""The commands that ask a voter and a database server: scripts of this folder's `remote`, with what they must know."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from shlex import quote
from typing import Any

from bastide.cluster import cluster_of
from bastide.layout import etcd as etcd_layout
from bastide.layout import postgres as layout
from bastide.layout.etcd import CLIENT_PORT as ETCD_CLIENT
from bastide.layout.etcd import PEER_PORT as ETCD_PEER
from bastide.layout.postgres import PATRONI_PORT as PATRONI
from bastide.layout.postgres import PORT as POSTGRES
from bastide.machines import Machine
from bastide.settings import Settings
from deploys.etcd import membership
from deploys.postgres.rights import shape

_SCRIPTS = Path(__file__).with_name("remote")
_NOBODY = 65534  # Debian's base-passwd
_SERVERS = {
    "server": POSTGRES,
    "api": PATRONI,
    "leader": layout.LEADER_PORT,
    "replicas": layout.REPLICA_PORT,
    "pool": layout.POOL_PORT,
}


def commands(settings: Settings, machine: Machine, stack: str) -> dict[str, str]:
    """By name; without settings.postgres they ask nothing."""
    if settings.postgres is None:
        return dict.fromkeys(("voter", "database"), "true")
    site = machine.role != "witness"
    return {
        "voter": _voter(settings, machine, stack),
        "database": _server(settings, machine, stack) if site else "true",
    }


def accounts() -> list[int]:
    """Numbers of accounts without a right: a known one, and one that nobody can have thought of."""
    return [_NOBODY, secrets.randbelow(30_000) + 30_000]


def strange_command(settings: Settings, machine: Machine) -> str:
    """What a machine that is none of the sites gets from a server at its address in the mesh."""
    plan = {"address": settings.mesh[machine.name], "port": POSTGRES, "somebody": somebody(settings)}
    return _script(plan, "knocks", "strange")


def marker_command(word: str) -> str:
    """Look for a word on the wire, see remote/marker.py."""
    return f"printf %s {_packed(_text('marker'))} | base64 -d | python3 -I -W ignore - {word} {POSTGRES}"


def somebody(settings: Settings) -> list[str]:
    """A declared role and a database that it may use; empty when there is none."""
    databases = settings.postgres.databases if settings.postgres else {}
    return next(([role, name] for name, database in databases.items() for role in database.roles), [])


def _voter(settings: Settings, machine: Machine, stack: str) -> str:
    voters = membership.members_of(settings, machine, stack)
    doors = [[address, port] for address in voters.addresses.values() for port in (ETCD_CLIENT, ETCD_PEER)]
    if not voters.votes:
        return _script({"name": "", "doors": doors, "accounts": accounts()}, "knocks", "voter")
    plan = {
        "name": machine.name,
        "address": voters.address,
        "endpoints": voters.endpoints(),
        "client_port": ETCD_CLIENT,
        "peer_port": ETCD_PEER,
        "doors": doors,
        "ctl": etcd_layout.CTL,
        "folder": etcd_layout.FOLDER,
        "witness": voters.witness,
        "prefix": etcd_layout.prefix(stack),
        "accounts": accounts(),
    }
    return _script(plan, "knocks", "voter")


def _server(settings: Settings, machine: Machine, stack: str) -> str:
    wanted = cluster_of(settings, machine, stack)
    declared = shape(wanted.postgres, len(wanted.sites))
    plan = {
        "name": machine.name,
        "address": wanted.me.address,
        "sites": {member.name: member.address for member in wanted.sites},
        "folder": layout.FOLDER,
        "ports": _SERVERS,
        "doors": [[member.address, PATRONI] for member in wanted.sites],
        "accounts": accounts(),
        "somebody": somebody(settings),
        "databases": declared.names,
        "query": declared.question()["query"],
        "inside": declared.question()["inside"],
    }
    return _script(plan, "knocks", "server")


def _script(plan: dict[str, Any], *names: str) -> str:
    text = "\n".join(_text(name) for name in names)
    return f"printf %s {_packed(text)} | base64 -d | python3 -I -W ignore - {quote(json.dumps(plan))}"


def _text(name: str) -> str:
    return (_SCRIPTS / f"{name}.py").read_text(encoding="utf-8").replace("from __future__ import annotations\n", "", 1)


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
