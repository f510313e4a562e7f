"""What the database servers say, each beside what the others say; and what passes on the wire meanwhile."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bastide.layout import postgres
from bastide.layout.wireguard import INTERFACE
from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.probes import postgres_rights
from tests.verify.probes.cluster import Said, answer, elsewhere, parsed, sites
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.listed import Text, listed
from tests.verify.probes.scripts import script, sent
from tests.verify.probes.world import NotSeen, Observation, World, declared

_PORTS = {
    "server": postgres.PORT,
    "api": postgres.PATRONI_PORT,
    "leader": postgres.LEADER_PORT,
    "replicas": postgres.REPLICA_PORT,
    "pool": postgres.POOL_PORT,
}
TLS = ("TLSv1.2", "TLSv1.3")
"""The versions that may be spoken."""
_LOOKS = 3
_once = Once()


@probe()
def servers(world: World, machine: Machine) -> tuple[str, Said]:
    """What a server says of itself, beside what those of the other sites say."""
    found = {}
    for other in sites(world):
        try:
            found[other.name] = _said(world, other)
        except NotSeen:
            found[other.name] = {}
    if not found[machine.name]:
        _said(world, machine)
    shown = "# runuser -u postgres psql (here and on the other sites); connections without TLS, certificate or password"
    return shown, Said(found[machine.name], found)


@probe()
def from_elsewhere(world: World, machine: Machine) -> tuple[str, dict[str, str]]:
    """How a server answers a machine of the mesh that carries no database; empty where there is none."""
    other = elsewhere(world, machine)
    if other is None or machine.role == "witness":
        return "# nobody else", {}
    done = stranger.run(world, other, machine.name)
    return f"{other.name}# psql to {machine.name}, over TLS, without, and as a superuser", parsed(machine, done.text)


@probe()
def marked(world: World, machine: Machine) -> tuple[str, dict[str, dict[str, Any]]]:
    """A word that is written into the stream of changes, looked for on all interfaces of all sites."""
    found: dict[str, dict[str, Any]] = _once(world.stack, lambda: _marked(world))
    return "# tcpdump -i any, while pg_logical_emit_message writes a word into the stream of changes", found


@probe()
def logged(world: World, machine: Machine) -> tuple[str, dict[str, bool]]:
    """Whether a connection, a change that is taken back and a name at the pool come into the journal."""
    if machine.name not in {one.name for one in sites(world)}:
        return "# no databases", {}
    done = in_the_journal.run(world, machine, secrets.token_hex(8))
    shown = "# begin; create temporary table ...; rollback; journalctl -u patroni -u pgbouncer -g WORD"
    return shown, parsed(machine, done.text)


def own_of(settings: Settings, observation: Observation) -> dict[str, Any]:
    """What the machine's own server says, out of what `servers` gave."""
    declared(settings.postgres)
    said: Said = observation.data
    assert said.own.get("sql"), f"its server does not answer its superuser: {said.own.get('why')}"
    return said.own


def leader_of(settings: Settings, observation: Observation) -> str:
    """The one server that takes writes."""
    own_of(settings, observation)
    said = observation.data.all
    found = [name for name, one in said.items() if (one.get("sql") or {}).get("recovery") is False]
    silent = [f"{name} does not answer: {one.get('why')}" for name, one in said.items() if not one.get("sql")]
    assert found, "; ".join(["no server takes writes", *silent])
    assert len(found) == 1, f"{' and '.join(sorted(found))} both take writes"
    return str(found[0])


def server_script(settings: Settings, machine: Machine) -> str:
    """remote/postgres_server.py with what it must know. Its words are the numbers of accounts without a right."""
    addresses = {name: settings.mesh[name] for name in settings.sites}
    plan = {
        "name": machine.name,
        "address": addresses[machine.name],
        "sites": addresses,
        "folder": postgres.FOLDER,
        "config": postgres.CONFIG,
        "ports": _PORTS,
        "root_only": [[address, postgres.PATRONI_PORT] for address in addresses.values()],
        "somebody": somebody(settings),
        "roles": roles_of(settings),
        "router": postgres.ROUTER_CONFIG,
        "databases": ["postgres", *(settings.postgres.databases if settings.postgres else ())],
        "rights": {"cluster": postgres_rights.IN_THE_CLUSTER, "database": postgres_rights.IN_A_DATABASE},
    }
    return script(plan, "connections", "postgres_running", "postgres_ways", "postgres_server")


def stranger_script(settings: Settings) -> str:
    """remote/postgres_stranger.py: it comes to a server's address in the mesh. Its word is the server's name."""
    servers = {name: settings.mesh[name] for name in settings.sites}
    plan = {"servers": servers, "port": postgres.PORT, "somebody": somebody(settings)}
    return script(plan, "connections", "postgres_stranger")


def somebody(settings: Settings) -> list[str]:
    """A declared role and a database that it may use; empty when there is none."""
    databases = settings.postgres.databases if settings.postgres else {}
    return next(([role, name] for name, database in databases.items() for role in database.roles), [])


def roles_of(settings: Settings) -> dict[str, list[str]]:
    """The roles that log in over the network, members' own among them, each with the databases that it may use."""
    found: dict[str, list[str]] = {"replicator": [], "rewinder": ["postgres"]}
    for name, database in (settings.postgres.databases if settings.postgres else {}).items():
        for role in database.roles:
            found.setdefault(role, []).append(name)
    return found


def _said(world: World, machine: Machine) -> dict[str, Any]:
    return answer(world, machine, server)


def looked_together(found: dict[str, dict[str, Any]]) -> bool:
    """Whether every site looked while a word was written, with what a packet takes on its way: else it saw nothing."""
    written = [at for one in found.values() for at in one["times"]]
    return all(any(one["looked"][0] < at < one["looked"][1] - 0.2 for at in written) for one in found.values())


def _marked(world: World) -> dict[str, dict[str, Any]]:
    word, machines = secrets.token_hex(12), sites(world)
    with ThreadPoolExecutor(len(machines)) as pool:
        # nobody can tell the leader to wait for another one who begins late: what was not looked at together is no look
        for _ in range(_LOOKS):
            found = dict(pool.map(lambda one: (one.name, parsed(one, marker.run(world, one, word).text)), machines))
            if looked_together(found):
                break
        far = pool.map(lambda one: received.run(world, one).text.strip(), machines)
        for machine, there in zip(machines, far, strict=True):
            found[machine.name]["there"] = there
    return found


def _on_sites(world: World, machine: Machine) -> bool:
    return world.settings.postgres is not None and machine.name in world.settings.sites


def _for_sites(text: str) -> Text:
    return lambda world, machine: text if _on_sites(world, machine) else ""


server = listed(
    "postgres", lambda world, machine: server_script(world.settings, machine) if _on_sites(world, machine) else ""
)
stranger = listed(
    "postgres from elsewhere", lambda world, machine: stranger_script(world.settings) if world.settings.postgres else ""
)
marker = listed("wal marker", _for_sites(f'{sent("wal_marker")} {postgres.PORT} {INTERFACE} "$1"'))
received = listed("wal received", _for_sites(f"{sent('wal_marker')} received"))


in_the_journal = listed(
    "what is logged",
    lambda world, machine: f'{sent("logged")} {postgres.POOL_PORT} "$1"' if world.settings.postgres else "",
)
