"""What voters and database servers say, each beside what the others say; and what passes on the wire meanwhile."""

from __future__ import annotations

import json
import secrets
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bastide.layout.etcd import CLIENT_PORT as ETCD_CLIENT
from bastide.layout.etcd import PEER_PORT as ETCD_PEER
from bastide.layout.postgres import LEADER_PORT, POOL_PORT, REPLICA_PORT
from bastide.layout.postgres import PATRONI_PORT as PATRONI
from bastide.layout.postgres import PORT as POSTGRES
from bastide.machines import Machine
from tests.verify.probes.cluster_commands import commands, marker_command, strange_command
from tests.verify.probes.engine import Once, look
from tests.verify.probes.reach import KNOCKER
from tests.verify.probes.world import NotSeen, World

VOTERS_PORTS = (ETCD_CLIENT, ETCD_PEER)
SERVERS_PORTS = (POSTGRES, PATRONI, LEADER_PORT, REPLICA_PORT, POOL_PORT)
_once = Once()


@dataclass(frozen=True)
class Said:
    """What this machine says, and what all of them say, by name."""

    own: dict[str, Any]
    all: dict[str, dict[str, Any]]


@look()
def voters(world: World, machine: Machine) -> tuple[str, Said]:
    """What a voter says of itself and of the others."""
    if world.settings.postgres is None:
        return "# no voters", Said({}, {})
    own = _answer(world, machine, "voter")
    return "# bastide-etcdctl endpoint status; what it answers without TLS, certificate or password", Said(
        own, {machine.name: own}
    )


@look()
def servers(world: World, machine: Machine) -> tuple[str, Said]:
    """What a server says of itself, beside what those of the other sites say."""
    if world.settings.postgres is None:
        return "# no databases", Said({}, {})
    found = {}
    for other in sites(world):
        try:
            found[other.name] = _answer(world, other, "database")
        except NotSeen:
            found[other.name] = {}
    if not found[machine.name]:
        _answer(world, machine, "database")
    shown = "# runuser -u postgres psql (here and on the other sites); connections without TLS, certificate or password"
    return shown, Said(found[machine.name], found)


@look()
def marked(world: World, machine: Machine) -> tuple[str, dict[str, dict[str, Any]]]:
    """A word that is written into the stream of changes, looked for on all interfaces of all sites."""
    if world.settings.postgres is None:
        return "# no databases", {}
    found: dict[str, dict[str, Any]] = _once(world.stack, lambda: _marked(world))
    return "# tcpdump -i any, while pg_logical_emit_message writes a word into the stream of changes", found


@look(active=True)
def strangers(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """What the prober reaches of the databases' and voters' ports, over IPv4 and IPv6."""
    prober = world.inventory.prober
    if prober is None or world.settings.postgres is None:
        return "# no databases", {}
    ports = " ".join(map(str, (*VOTERS_PORTS, *SERVERS_PORTS)))
    commands = {
        address: f"python3 -I -c {shlex.quote(KNOCKER)} {address} {ports}"
        for address in filter(None, (machine.address, machine.address6))
    }
    outputs = world.batch(prober.name, commands)
    shown = f"{prober.name}# connect to {machine.name}, ports {ports}"
    return shown, {address: _parsed(world, machine, done.text) for address, done in outputs.items()}


@look()
def neighbours(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """What another machine reaches past the provider's firewall (`outside`) and in the mesh, and, from one that carries
    no database, how the server answers it."""
    sibling = next((one for one in world.inventory if one.role == "witness"), None)
    if sibling is None or world.settings.postgres is None or sibling.name == machine.name:
        sibling = next((one for one in world.inventory if one.name != machine.name), None)
    if sibling is None or world.settings.postgres is None:
        return "# nobody else", {}
    ports = " ".join(map(str, (*VOTERS_PORTS, *SERVERS_PORTS)))
    knock = f"python3 -I -c {shlex.quote(KNOCKER)}"
    commands = {
        "outside": f"{knock} {machine.address_for(sibling)} {ports}",
        "mesh": f"{knock} {world.settings.mesh[machine.name]} {ports}",
    }
    if sibling.role == "witness" and machine.role != "witness":
        commands["strange"] = strange_command(world.settings, machine)
    outputs = world.batch(sibling.name, commands)
    shown = f"{sibling.name}# connect to {machine.name}, ports {ports}"
    return shown, {what: _parsed(world, machine, done.text) for what, done in outputs.items()}


def sites(world: World) -> list[Machine]:
    """The machines that carry databases."""
    return [machine for machine in world.inventory if machine.role != "witness"]


def _answer(world: World, machine: Machine, name: str) -> dict[str, Any]:
    """A round trip of its own, beside the one of batch.py: it waits for others than this machine."""
    command = commands(world.settings, machine, world.stack)[name]
    found: dict[str, Any] = _once(
        (world.stack, machine.name, name), lambda: _parsed(world, machine, world.as_root(machine.name, command).text)
    )
    return found


def _parsed(world: World, machine: Machine, text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        last = (text.splitlines() or ["nothing"])[-1]
        raise NotSeen(f"{machine.name} could not be asked: {last}", "are python3, psql and etcdctl there?") from None
    return found


def _marked(world: World) -> dict[str, dict[str, Any]]:
    command, machines = marker_command(secrets.token_hex(12)), sites(world)
    with ThreadPoolExecutor(len(machines)) as pool:
        found = pool.map(lambda one: _parsed(world, one, world.as_root(one.name, command).text), machines)
        return dict(zip((one.name for one in machines), found, strict=True))
