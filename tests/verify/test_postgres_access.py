"""Who gets to the databases, and how: what each server and pool answers to whoever has less than all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.postgres import LEADER_PORT, PATRONI_PORT, POOL_FOLDER, POOL_PORT, PORT, REPLICA_PORT
from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import cluster, postgres
from tests.verify.probes.cluster import LOCAL_PORTS, POSTGRES_PORTS, judge_silence
from tests.verify.probes.postgres import TLS, leader_of, own_of
from tests.verify.probes.postgres_rules import declared_rules, rule_of, rules_differ
from tests.verify.probes.world import Observation

Note = Callable[[str], None]


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_no_way_in_with_less(observation: Observation, settings: Settings, note: Note) -> None:
    """The server refuses what is plain or TLS 1.1, wrong roles and passwords, and the superuser; it asks for scram."""
    tries = own_of(settings, observation)["tries"]
    right, old = tries["right"], tries["TLS 1.1"]["answer"]
    wrong = []
    if right["answer"] != "asks for scram":
        wrong.append(f"whoever may come is not asked for a password: {right['answer']}")
    if right.get("tls") not in TLS:
        wrong.append(f"it speaks {right.get('tls') or 'no TLS'}")
    wrong += _not_refused(tries, ("no TLS", "superuser", "elsewhere", "nobody", "wrong password"), "it does not refuse")
    if not old.startswith(("no TLS", "refuses")):
        wrong.append(f"it takes TLS 1.1: {old}")
    elif "ALERT" not in old:
        wrong.append(f"TLS 1.1 could not be tried: {old}")
    judge(wrong)
    note(f"refused: {', '.join(what for what in tries if what != 'right' and not what.startswith('pool'))}")


def _not_refused(tries: dict[str, Any], ways: tuple[str, ...], says: str) -> list[str]:
    """Those of the ways that were tried and not refused."""
    answers = {what: tries[what]["answer"] for what in ways if what in tries}
    return [f"{says} ({what}): {answer}" for what, answer in answers.items() if not answer.startswith("refuses")]


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.from_elsewhere)
def test_other_servers_are_refused(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """A server of the mesh that carries no database reaches the port, and is refused over TLS and without."""
    seen = observation.data
    if set(settings.sites) == set(settings.servers):
        note("every server carries databases: there is none to be refused")
        return
    assert seen, "nobody tried from elsewhere"
    assert seen["reach"] == "open", "it gets no connection at all: its refusal proves nothing"
    judge(
        f"a machine without databases is not refused {what}: {answer}"
        for what, answer in seen.items()
        if what != "reach" and "pg_hba.conf" not in answer
    )
    note("refused by pg_hba.conf, over TLS, without, and as a superuser")


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_the_rules_in_force_are_the_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """pg_hba.conf holds the declared lines, in their order, and no others."""
    own = own_of(settings, observation)
    rules = [rule_of(row) for row in own["sql"]["hba"]]
    judge(f"pg_hba.conf: {text}" for text in rules_differ(rules, declared_rules(settings)))
    note(count(len(rules), "line"))


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_every_client_speaks_tls(observation: Observation, settings: Settings, note: Note) -> None:
    """All who are connected now and did not come by the socket speak TLS 1.2 or newer."""
    clients = own_of(settings, observation)["sql"]["clients"] or []
    plain = sorted({one["user"] or "somebody" for one in clients if one["tls"] not in TLS})
    assert not plain, f"without TLS: {', '.join(plain)}"
    note(f"{', '.join(sorted({one['user'] for one in clients})) or 'nobody'} connected")


@pytest.mark.control("postgres-03")
@pytest.mark.probe(postgres.servers)
def test_it_listens_inside_only(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """Server and Patroni listen in the mesh, HAProxy and PgBouncer on loopback, and no other server runs."""
    own, address = own_of(settings, observation), settings.mesh[machine.name]
    allowed = {
        f"postgres {address}:{PORT}",
        f"patroni {address}:{PATRONI_PORT}",
        f"haproxy 127.0.0.1:{LEADER_PORT}",
        f"haproxy 127.0.0.1:{REPLICA_PORT}",
        f"pgbouncer 127.0.0.1:{POOL_PORT}",
    }
    there, wrong = set(own["listening"]), list[str]()
    if more := sorted(there - allowed):
        wrong.append(f"also listening: {', '.join(more)}")
    if missing := sorted(allowed - there):
        wrong.append(f"not listening: {', '.join(missing)}")
    wrong += [f"another server listens at {path}" for path in own["sockets"] if not path.endswith(f".s.PGSQL.{PORT}")]
    judge(wrong)
    note(", ".join(word.split()[1] for word in sorted(there)))


@pytest.mark.control("postgres-03")
@pytest.mark.probe(postgres.servers)
def test_other_accounts_reach_no_api(observation: Observation, settings: Settings, note: Note) -> None:
    """root reaches the API of every Patroni, accounts without a right on the same machine reach none."""
    accounts = own_of(settings, observation)["accounts"]
    judge(cluster.reached_by_accounts(accounts, "API"))
    note(f"{', '.join(next(iter(accounts.values())))}: root alone gets through")


@pytest.mark.control("postgres-03")
@pytest.mark.active
@pytest.mark.probe(cluster.strangers)
def test_strangers_reach_no_database(observation: Observation, settings: Settings, note: Note) -> None:
    """From outside, no port of server, Patroni, HAProxy and PgBouncer answers."""
    judge_silence(settings, observation.data, POSTGRES_PORTS, note)


@pytest.mark.control("postgres-03")
@pytest.mark.probe(cluster.neighbours)
def test_neighbours_reach_no_database_past_the_mesh(observation: Observation, settings: Settings, note: Note) -> None:
    """Another server reaches none of these ports but in the mesh, and there neither HAProxy nor PgBouncer."""
    if cluster.nobody_else(settings, note):
        return
    asked = (
        ({"another server": observation.data.get("outside", {})}, POSTGRES_PORTS),
        ({"another server, in the mesh": observation.data.get("mesh", {})}, LOCAL_PORTS),
    )
    judge(text for seen, ports in asked for text in cluster.answers_of(seen, ports))
    for seen, ports in asked:
        note(f"no answer from {', '.join(map(str, ports))} ({', '.join(seen)})")


@pytest.mark.control("postgres-09")
@pytest.mark.probe(postgres.servers)
def test_the_routes_end_at_the_leader(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """HAProxy leads to the server that takes writes, and its other port to one that does not; PgBouncer comes by it."""
    leader, own = leader_of(settings, observation), own_of(settings, observation)
    assert settings.postgres
    led, wrong = {route.get("name") or route["answer"] for route in own["routes"]["leader"]}, list[str]()
    if led != {leader}:
        wrong.append(f"the way to the leader ({leader}) ends at {', '.join(sorted(led - {leader})) or 'nobody'}")
    aside = own["routes"]["replicas"][0]
    rows = observation.data.all[leader]["sql"]["standbys"] or ()
    streams = any((row or {}).get("state") == "streaming" for row in rows)
    if streams and aside.get("name") not in set(observation.data.all) - {leader}:
        wrong.append(f"the way to replicas ends at {aside.get('name') or aside['answer']}")
    wrong += [
        f"the pool leads {name} elsewhere"
        for name in settings.postgres.databases
        if own["pool"].get(name, [])[:3] != ["127.0.0.1", str(LEADER_PORT), name]
    ]
    judge(wrong)
    note(f"127.0.0.1:{LEADER_PORT} to {leader}, {REPLICA_PORT} to {aside.get('name', 'nobody')}")


@pytest.mark.control("postgres-09")
@pytest.mark.probe(postgres.servers)
def test_the_pool_takes_as_many_as_it_says_and_can_read_nothing_else(
    observation: Observation, settings: Settings, note: Note
) -> None:
    """PgBouncer may open a file for each client and connection, and runs as an account of its own."""
    own = own_of(settings, observation)
    limits = own["pool_limits"]
    files, clients, account = int(limits["files"]), int(limits["clients"]), limits["account"]
    wrong = [] if files > clients else [f"PgBouncer may open {files} files, and promises {clients} clients"]
    if account != "pgbouncer":
        wrong.append(f"PgBouncer runs as {account}")
    if f"{POOL_FOLDER}/server.key" not in own["keys"]:
        wrong.append("PgBouncer has no key of its own")
    judge(wrong)
    note(f"{files} files, as {account}")


@pytest.mark.control("postgres-09")
@pytest.mark.probe(postgres.servers)
def test_the_pool_asks_for_tls_and_password(observation: Observation, settings: Settings, note: Note) -> None:
    """PgBouncer refuses what is plain, TLS 1.1 and a wrong password; over TLS it asks for scram."""
    tries = own_of(settings, observation)["tries"]
    right, old = tries["pool: right"], tries["pool: TLS 1.1"]["answer"]
    wrong = []
    if right["answer"] != "asks for scram":
        wrong.append(f"the pool does not ask for a password: {right['answer']}")
    if right.get("tls") not in TLS:
        wrong.append(f"the pool speaks {right.get('tls') or 'no TLS'}")
    wrong += _not_refused(tries, ("pool: no TLS", "pool: wrong password"), "the pool does not refuse")
    if not old.startswith("no TLS"):
        wrong.append(f"the pool takes TLS 1.1: {old}")
    elif "ALERT" not in old:
        wrong.append(f"TLS 1.1 could not be tried: {old}")
    judge(wrong)
    note("refused: no TLS, TLS 1.1, a wrong password")
