"""Who gets to the databases, and how: what each server and pool answers to whoever has less than all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bastide.controls import count
from bastide.controls.postgres import CERTIFICATE_DAYS
from bastide.layout.postgres import LEADER_PORT, PATRONI_PORT, POOL_FOLDER, POOL_PORT, PORT, REPLICA_PORT
from bastide.machines import Machine
from bastide.settings import Settings
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
    right = tries["right"]
    assert right["answer"] == "asks for scram", f"whoever may come is not asked for a password: {right['answer']}"
    assert right["tls"] in TLS, f"it speaks {right['tls']}"
    for what in ("no TLS", "superuser", "elsewhere", "nobody", "wrong password"):
        answer = tries.get(what, right)["answer"]
        if what in tries:
            assert answer.startswith("refuses"), f"it does not refuse ({what}): {answer}"
    old = tries["TLS 1.1"]["answer"]
    assert old.startswith("no TLS") or old.startswith("refuses"), f"it takes TLS 1.1: {old}"
    assert "ALERT" in old, f"TLS 1.1 could not be tried: {old}"
    note(f"refused: {', '.join(what for what in tries if what != 'right' and not what.startswith('pool'))}")


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
    for what, answer in seen.items():
        if what != "reach":
            assert "pg_hba.conf" in answer, f"a machine without databases is not refused {what}: {answer}"
    note("refused by pg_hba.conf, over TLS, without, and as a superuser")


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_the_rules_in_force_are_the_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """pg_hba.conf holds the declared lines, in their order, and no others."""
    own = own_of(settings, observation)
    rules = [rule_of(row) for row in own["sql"]["hba"]]
    problem = rules_differ(rules, declared_rules(settings))
    assert not problem, f"pg_hba.conf: {problem}"
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
    there = set(own["listening"])
    assert not (more := sorted(there - allowed)), f"also listening: {', '.join(more)}"
    assert not (missing := sorted(allowed - there)), f"not listening: {', '.join(missing)}"
    sockets = [path for path in own["sockets"] if not path.endswith(f".s.PGSQL.{PORT}")]
    assert not sockets, f"another server listens at {sockets[0]}"
    note(", ".join(word.split()[1] for word in sorted(there)))


@pytest.mark.control("postgres-03")
@pytest.mark.probe(postgres.servers)
def test_other_accounts_reach_no_api(observation: Observation, settings: Settings, note: Note) -> None:
    """root reaches the API of every Patroni, accounts without a right on the same machine reach none."""
    root, *others = own_of(settings, observation)["accounts"].items()
    assert set(root[1].values()) == {"open"}, "root reaches not every API either: silence proves nothing"
    for number, found in others:
        assert found, f"nothing could be tried as account {number}"
        reached = sorted(port for port, state in found.items() if state == "open")
        assert not reached, f"account {number} of this machine gets through to {reached[0]}"
    note(f"{', '.join(root[1])}: root alone gets through")


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
    judge_silence(settings, {"another server": observation.data.get("outside", {})}, POSTGRES_PORTS, note)
    judge_silence(settings, {"another server, in the mesh": observation.data["mesh"]}, LOCAL_PORTS, note)


@pytest.mark.control("postgres-08")
@pytest.mark.probe(postgres.servers)
def test_certificates_are_good_for_weeks(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """What server, Patroni and pool show is signed by the authority that all sites trust, and good for weeks."""
    own = own_of(settings, observation)
    shown = {"server": own["tries"]["right"], "Patroni": own["api"]["read"], "pool": own["tries"]["pool: right"]}
    left = []
    for what, plate in shown.items():
        assert plate.get("ends"), f"{what} shows no certificate of the authority ({plate.get('answer', '')})"
        left.append((plate["ends"] - observation.at.timestamp()) / 86400)
        assert left[-1] >= CERTIFICATE_DAYS, f"the certificate of {what} is good for {left[-1]:.0f} more days"
        name = f"{machine.name}-pool" if what == "pool" else machine.name
        assert plate["name"] == name, f"{what} calls itself {plate['name']}"
        # what a site calls itself tells it from every other one; the pool is where its clients are
        names = {"127.0.0.1", "localhost"} if what == "pool" else {machine.name, settings.mesh[machine.name]}
        assert set(plate["names"]) == names, f"{what} is also {', '.join(sorted(set(plate['names']) ^ names))}"
    for path, one in own["certificates"].items():
        assert one["signed"].endswith(": OK"), f"{path} is not signed by the authority"
        ends = datetime.strptime(one["ends"].removeprefix("notAfter="), "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
        left.append((ends - observation.at).total_seconds() / 86400)
        assert left[-1] >= CERTIFICATE_DAYS, f"{path} is good for {left[-1]:.0f} more days"
        others = {said["certificates"][path]["authority"] for said in observation.data.all.values() if said}
        assert len(others) == 1, f"the sites trust other authorities for {path}"
    note(f"good for {min(left):.0f} days")


@pytest.mark.control("postgres-08")
@pytest.mark.probe(postgres.servers)
def test_keys_and_passwords_are_closed(observation: Observation, settings: Settings, note: Note) -> None:
    """Nobody but their owner can read keys and files with passwords."""
    keys = own_of(settings, observation)["keys"]
    assert keys, "there is no file with its key"
    for path, (mode, _) in keys.items():
        assert not int(mode, 8) & 0o077, f"others can read {path} ({mode})"
    note(", ".join(keys))


@pytest.mark.control("postgres-09")
@pytest.mark.probe(postgres.servers)
def test_the_routes_end_at_the_leader(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """HAProxy leads to the server that takes writes, and its other port to one that does not; PgBouncer comes by it."""
    leader, own = leader_of(settings, observation), own_of(settings, observation)
    assert settings.postgres
    led = {route.get("name") or route["answer"] for route in own["routes"]["leader"]}
    assert led == {leader}, f"the way to the leader ({leader}) ends at {', '.join(sorted(led - {leader}))}"
    aside = own["routes"]["replicas"][0]
    if any((row or {}).get("state") == "streaming" for row in observation.data.all[leader]["sql"]["standbys"] or ()):
        assert aside.get("name") in set(observation.data.all) - {leader}, f"the way to replicas ends at {aside}"
    for name in settings.postgres.databases:
        there = own["pool"].get(name, [])[:3]
        assert there == ["127.0.0.1", str(LEADER_PORT), name], f"the pool leads {name} elsewhere"
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
    assert files > clients, f"PgBouncer may open {files} files, and promises {clients} clients"
    assert account == "pgbouncer", f"PgBouncer runs as {account}"
    assert f"{POOL_FOLDER}/server.key" in own["keys"], "PgBouncer has no key of its own"
    note(f"{files} files, as {account}")


@pytest.mark.control("postgres-09")
@pytest.mark.probe(postgres.servers)
def test_the_pool_asks_for_tls_and_password(observation: Observation, settings: Settings, note: Note) -> None:
    """PgBouncer refuses what is plain, TLS 1.1 and a wrong password; over TLS it asks for scram."""
    tries = own_of(settings, observation)["tries"]
    right, old = tries["pool: right"], tries["pool: TLS 1.1"]["answer"]
    assert right["answer"] == "asks for scram", f"the pool does not ask for a password: {right['answer']}"
    assert right["tls"] in TLS, f"the pool speaks {right['tls']}"
    for what in ("pool: no TLS", "pool: wrong password"):
        answer = tries[what]["answer"] if what in tries else "refuses"
        assert answer.startswith("refuses"), f"the pool does not refuse ({what}): {answer}"
    assert old.startswith("no TLS"), f"the pool takes TLS 1.1: {old}"
    assert "ALERT" in old, f"TLS 1.1 could not be tried: {old}"
    note("refused: no TLS, TLS 1.1, a wrong password")
