"""How the databases are kept: what each server says and answers, who leads, who may do what, what crosses the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bastide.cluster import Cluster, cluster_of
from bastide.controls import count
from bastide.controls.postgres import CERTIFICATE_DAYS, LAG_SECONDS
from bastide.layout.postgres import LEADER_PORT, POOL_PORT, REPLICA_PORT
from bastide.layout.postgres import PATRONI_PORT as PATRONI
from bastide.layout.postgres import PORT as POSTGRES
from bastide.layout.wireguard import INTERFACE
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from deploys.postgres.patroni import hba, shared
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.probes import postgres_rights as rights
from tests.verify.probes.cluster import SERVERS_PORTS, Said, marked, neighbours, servers, strangers
from tests.verify.probes.judge_reach import judge_outside
from tests.verify.probes.world import Sight, World

_TLS = ("TLSv1.2", "TLSv1.3")
_LOGGED = {"log_connections": "on", "log_disconnections": "on"}
Note = Callable[[str], None]


def _own(settings: Settings, sight: Sight) -> dict[str, Any]:
    """What the machine's own server says."""
    if settings.postgres is None:
        not_provable_here("the stack file declares no databases")
    said: Said = sight.data
    assert said.own.get("sql"), "its server does not answer its superuser"
    return said.own


def _leader(settings: Settings, sight: Sight) -> str:
    """The one server that takes writes."""
    _own(settings, sight)
    found = [name for name, said in sight.data.all.items() if (said.get("sql") or {}).get("recovery") is False]
    assert found, "no server takes writes"
    assert len(found) == 1, f"{' and '.join(sorted(found))} both take writes"
    return str(found[0])


def _cluster(settings: Settings, machine: Machine, world: World) -> Cluster:
    return cluster_of(settings, machine, world.stack)


@pytest.mark.control("postgres-01")
@pytest.mark.look(servers)
def test_the_standby_streams(
    sight: Sight, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Every other server streams from the one that leads, as durable as declared, no further behind than allowed."""
    leader = _leader(settings, sight)
    assert settings.postgres
    rows = {one["name"]: one for one in sight.data.all[leader]["sql"]["standbys"] or ()}
    followers = [name for name in sight.data.all if name != leader]
    for name in followers if machine.name == leader else [machine.name]:
        row = rows.get(name)
        assert row, f"{name} does not stream from {leader}"
        assert row["state"] == "streaming", f"{name} does not stream: {row['state']}"
        assert row["tls"] in _TLS, f"{name} streams by {row['tls'] or 'no TLS'}"
        most = settings.postgres.max_failover_lag_mb * 2**20
        assert row["bytes"] <= most, f"{name} is {row['bytes']:.0f} bytes behind"
        assert row["seconds"] <= LAG_SECONDS, f"{name} is {row['seconds']:.0f} seconds behind"
    waits = settings.postgres.durability == "zero-loss"
    kinds = sorted({row["sync"] for row in rows.values()} - {"potential"})
    assert not waits or "sync" in kinds, f"a commit waits for no standby: they are {' and '.join(kinds) or 'none'}"
    assert waits or "sync" not in kinds, "a commit waits for a standby, which nobody declared"
    countries = {inventory[name].country for name in rows}
    assert countries - {inventory[leader].country}, "no standby streams in another country"
    behind = max(row["bytes"] for row in rows.values())
    note(f"{', '.join(rows)} from {leader}: {', '.join(kinds)}, {behind:.0f} bytes behind")


@pytest.mark.control("postgres-01")
@pytest.mark.look(servers)
def test_the_standby_knows_whom_it_follows(sight: Sight, settings: Settings, machine: Machine, note: Note) -> None:
    """A server that follows does so with sslmode=verify-full, from where the leader is."""
    leader, own = _leader(settings, sight), _own(settings, sight)
    if machine.name == leader:
        assert own["sql"]["receiver"] is None, "it leads, and follows somebody as well"
        note("it leads")
        return
    receiver = own["sql"]["receiver"]
    assert receiver, "it follows nobody"
    assert receiver["status"] == "streaming", f"it does not stream: {receiver['status']}"
    assert receiver["sslmode"] == "verify-full", f"it verifies nobody: sslmode={receiver['sslmode']}"
    assert receiver["host"] == settings.mesh[leader], f"it follows {receiver['host']}, which does not lead"
    note(f"from {leader}, sslmode={receiver['sslmode']}")


@pytest.mark.control("postgres-02")
@pytest.mark.look(servers)
def test_no_way_in_with_less(sight: Sight, settings: Settings, note: Note) -> None:
    """The server refuses what is plain or TLS 1.1, wrong roles and passwords, and the superuser; it asks for scram."""
    tries = _own(settings, sight)["tries"]
    right = tries["right"]
    assert right["answer"] == "asks for scram", f"whoever may come is not asked for a password: {right['answer']}"
    assert right["tls"] in _TLS, f"it speaks {right['tls']}"
    for what in ("no TLS", "superuser", "elsewhere", "nobody", "wrong password"):
        answer = tries.get(what, right)["answer"]
        if what in tries:
            assert answer.startswith("refuses"), f"it does not refuse ({what}): {answer}"
    old = tries["TLS 1.1"]["answer"]
    assert old.startswith("no TLS") or old.startswith("refuses"), f"it takes TLS 1.1: {old}"
    assert "ALERT" in old, f"TLS 1.1 could not be tried: {old}"
    note(f"refused: {', '.join(what for what in tries if what != 'right' and not what.startswith('pool'))}")


@pytest.mark.control("postgres-02")
@pytest.mark.look(neighbours)
def test_other_servers_are_refused(sight: Sight, settings: Settings, machine: Machine, note: Note) -> None:
    """A server of the mesh that carries no database reaches the port, and is refused over TLS and without."""
    if settings.postgres is None:
        not_provable_here("the stack file declares no databases")
    seen = sight.data.get("strange")
    if not seen:
        not_provable_here("every server carries databases: there is nobody to come from elsewhere")
    assert seen["reach"] == "open", "it gets no connection at all: its refusal proves nothing"
    for what, answer in seen.items():
        if what != "reach":
            assert "pg_hba.conf" in answer, f"a machine without databases is not refused {what}: {answer}"
    note("refused by pg_hba.conf, over TLS, without, and as a superuser")


@pytest.mark.control("postgres-02")
@pytest.mark.look(servers)
def test_the_rules_in_force_are_the_declared(
    sight: Sight, settings: Settings, machine: Machine, world: World, note: Note
) -> None:
    """pg_hba.conf holds the declared lines, in their order, and no others."""
    own = _own(settings, sight)
    lines, wanted = [rights.line_of(row) for row in own["sql"]["hba"]], hba(_cluster(settings, machine, world))
    problem = rights.difference(lines, [line.replace('"', "") for line in wanted])
    assert not problem, f"pg_hba.conf: {problem}"
    note(count(len(lines), "line"))


@pytest.mark.control("postgres-02")
@pytest.mark.look(servers)
def test_every_client_speaks_tls(sight: Sight, settings: Settings, note: Note) -> None:
    """All who are connected now and did not come by the socket speak TLS 1.2 or newer."""
    clients = _own(settings, sight)["sql"]["clients"] or []
    plain = sorted({one["user"] or "somebody" for one in clients if one["tls"] not in _TLS})
    assert not plain, f"without TLS: {', '.join(plain)}"
    note(f"{', '.join(sorted({one['user'] for one in clients})) or 'nobody'} connected")


@pytest.mark.control("postgres-03")
@pytest.mark.look(servers)
def test_it_listens_inside_only(sight: Sight, settings: Settings, machine: Machine, note: Note) -> None:
    """Server and Patroni listen in the mesh, HAProxy and PgBouncer on loopback, and no other server runs."""
    own, address = _own(settings, sight), settings.mesh[machine.name]
    allowed = {
        f"postgres {address}:{POSTGRES}",
        f"patroni {address}:{PATRONI}",
        f"haproxy 127.0.0.1:{LEADER_PORT}",
        f"haproxy 127.0.0.1:{REPLICA_PORT}",
        f"pgbouncer 127.0.0.1:{POOL_PORT}",
    }
    there = set(own["listening"])
    assert not (more := sorted(there - allowed)), f"also listening: {', '.join(more)}"
    assert not (missing := sorted(allowed - there)), f"not listening: {', '.join(missing)}"
    sockets = [path for path in own["sockets"] if not path.endswith(f".s.PGSQL.{POSTGRES}")]
    assert not sockets, f"another server listens at {sockets[0]}"
    note(", ".join(word.split()[1] for word in sorted(there)))


@pytest.mark.control("postgres-03")
@pytest.mark.look(servers)
def test_other_accounts_reach_no_api(sight: Sight, settings: Settings, note: Note) -> None:
    """root reaches the API of every Patroni, accounts without a right on the same machine reach none."""
    root, *others = _own(settings, sight)["accounts"].items()
    assert set(root[1].values()) == {"open"}, "root reaches not every API either: silence proves nothing"
    for number, found in others:
        assert found, f"nothing could be tried as account {number}"
        reached = sorted(door for door, state in found.items() if state == "open")
        assert not reached, f"account {number} of this machine gets through to {reached[0]}"
    note(f"{', '.join(root[1])}: root alone gets through")


@pytest.mark.control("postgres-03")
@pytest.mark.active
@pytest.mark.look(strangers)
def test_strangers_reach_no_database(sight: Sight, settings: Settings, note: Note) -> None:
    """From outside, no port of server, Patroni, HAProxy and PgBouncer answers."""
    judge_outside(settings, sight.data, SERVERS_PORTS, note)


@pytest.mark.control("postgres-03")
@pytest.mark.look(neighbours)
def test_neighbours_reach_no_database_past_the_mesh(sight: Sight, settings: Settings, note: Note) -> None:
    """Another server reaches none of these ports but in the mesh, and there neither HAProxy nor PgBouncer."""
    judge_outside(settings, {"another server": sight.data.get("outside", {})}, SERVERS_PORTS, note)
    local = (LEADER_PORT, REPLICA_PORT, POOL_PORT)
    judge_outside(settings, {"another server, in the mesh": sight.data["mesh"]}, local, note)


@pytest.mark.control("postgres-04")
@pytest.mark.look(marked)
def test_a_word_is_not_read_on_the_way(sight: Sight, settings: Settings, machine: Machine, note: Note) -> None:
    """A word in the stream of changes passes no interface of a site where it could be read, the mesh's included."""
    if settings.postgres is None:
        not_provable_here("the stack file declares no databases")
    seen: dict[str, dict[str, Any]] = sight.data
    own = seen[machine.name]
    leaders = [name for name, found in seen.items() if found["leads"]]
    assert len(leaders) == 1, "nobody leads, so nothing was sent"
    written = seen[leaders[0]]["written"]
    assert rights.position(written), "the word could not be written"
    assert not own["open"], f"the word can be read on {', '.join(own['open'])}"
    for name, found in seen.items():
        if not found["leads"]:
            assert rights.position(found["there"]) >= rights.position(written), f"the word did not come to {name}"
    assert INTERFACE in own["sealed"], "no encrypted packet of the databases passed by: silence proves nothing"
    note(f"the word was written on {leaders[0]} and read on the way nowhere; TLS records in {INTERFACE}")


@pytest.mark.control("postgres-05")
@pytest.mark.look(servers)
def test_checksums_are_on(sight: Sight, settings: Settings, note: Note) -> None:
    """The running server writes and compares checksums, and has found none that was wrong."""
    facts = _own(settings, sight)["sql"]
    assert facts["settings"]["data_checksums"] == "on", "pages carry no checksum"
    assert facts["page_version"] == 1, "the cluster was made without checksums"
    assert facts["broken"] == 0, f"{count(int(facts['broken']), 'page')} had a wrong checksum"
    note("on; no page was found wrong")


@pytest.mark.control("postgres-06")
@pytest.mark.look(servers)
def test_roles_are_the_declared(sight: Sight, settings: Settings, note: Note) -> None:
    """The roles that may log in are the declared ones; one is superuser, one replicates, and none is in a group."""
    own = _own(settings, sight)
    assert settings.postgres
    problem = rights.roles_differ(own["sql"]["roles"], settings.postgres.roles)
    assert not problem, problem
    note(f"{', '.join(settings.postgres.roles)} beside postgres, replicator and rewinder")


@pytest.mark.control("postgres-06")
@pytest.mark.look(servers)
def test_rights_are_the_declared(sight: Sight, settings: Settings, note: Note) -> None:
    """In every declared database, nobody has more or less than what the stack file says, strangers included."""
    own = _own(settings, sight)
    assert settings.postgres
    assert own["shape"], "it does not say who may do what"
    missing = rights.missing(settings.postgres, len(settings.sites), own["shape"])
    assert not missing, f"not as declared: {missing[0]}"
    more = own["shape"]["others"]
    assert not more, f"a database that nobody declared: {more[0]}"
    note(f"{count(len(settings.postgres.databases), 'database')}, nothing to grant or revoke")


@pytest.mark.control("postgres-07")
@pytest.mark.look(servers)
def test_one_server_leads(sight: Sight, settings: Settings, note: Note) -> None:
    """One server takes writes, and every Patroni names the same one."""
    leader = _leader(settings, sight)
    said = _own(settings, sight)["api"]["said"]
    for name, one in said.items():
        assert one, f"Patroni on {name} does not answer"
        role = "leader" if one["role"] in ("primary", "master") else "replica"
        assert role == ("leader" if name == leader else "replica"), f"{name} is {role} for Patroni, and {leader} leads"
        assert not one.get("pause"), "nobody would take over: Patroni is paused"
        assert one["state"] == "running", f"{name} is {one['state']}"
        assert not one.get("pending_restart"), f"{name} runs with older settings until it is restarted"
    note(f"{leader} leads, as {count(len(said), 'Patroni', 'Patronis')} and the servers say")


@pytest.mark.control("postgres-07")
@pytest.mark.look(servers)
def test_the_rules_of_leading_are_the_declared(
    sight: Sight, settings: Settings, machine: Machine, world: World, note: Note
) -> None:
    """What all members share is as declared: how soon a leader gives up, and that nobody leads without votes."""
    found, wanted = _own(settings, sight)["api"]["config"], shared(_cluster(settings, machine, world))
    assert found, "Patroni does not say what all members share"
    problem = rights.differs(found, wanted)
    assert not problem, f"what all members share: {problem}"
    note(f"ttl {found['ttl']} s, failsafe off, synchronous {'on' if found['synchronous_mode'] else 'off'}")


@pytest.mark.control("postgres-07")
@pytest.mark.look(servers)
def test_changing_the_leader_takes_more(sight: Sight, settings: Settings, note: Note) -> None:
    """Patroni's API answers over TLS, and refuses to change something without a certificate, or without a password."""
    api = _own(settings, sight)["api"]
    assert api["look"]["status"] == "200", f"it answers nobody ({api['look']['why'] or api['look']['status']})"
    assert api["no TLS"]["status"] != "200", "it answers without TLS"
    for what in ("no certificate", "no password"):
        status = api[what]["status"]
        assert status in ("401", "403"), f"it takes a change with {what} ({status or api[what]['why']})"
    note("refused: no certificate, no password")


@pytest.mark.control("postgres-08")
@pytest.mark.look(servers)
def test_certificates_are_good_for_weeks(sight: Sight, settings: Settings, machine: Machine, note: Note) -> None:
    """What server, Patroni and pool show is signed by the authority that all sites trust, and good for weeks."""
    own = _own(settings, sight)
    shown = {"server": own["tries"]["right"], "Patroni": own["api"]["look"], "pool": own["tries"]["pool: right"]}
    left = []
    for what, plate in shown.items():
        assert plate.get("ends"), f"{what} shows no certificate of the authority ({plate.get('answer', '')})"
        left.append((plate["ends"] - sight.at.timestamp()) / 86400)
        assert left[-1] >= CERTIFICATE_DAYS, f"the certificate of {what} is good for {left[-1]:.0f} more days"
        assert plate["name"] == machine.name, f"{what} calls itself {plate['name']}"
    for path, one in own["certificates"].items():
        assert one["signed"].endswith(": OK"), f"{path} is not signed by the authority"
        ends = datetime.strptime(one["ends"].removeprefix("notAfter="), "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
        left.append((ends - sight.at).total_seconds() / 86400)
        assert left[-1] >= CERTIFICATE_DAYS, f"{path} is good for {left[-1]:.0f} more days"
        others = {said["certificates"][path]["authority"] for said in sight.data.all.values() if said}
        assert len(others) == 1, f"the sites trust other authorities for {path}"
    note(f"good for {min(left):.0f} days")


@pytest.mark.control("postgres-08")
@pytest.mark.look(servers)
def test_keys_and_passwords_are_closed(sight: Sight, settings: Settings, note: Note) -> None:
    """Nobody but their owner can read keys and files with passwords."""
    keys = _own(settings, sight)["keys"]
    assert keys, "there is no file with its key"
    for path, (mode, _) in keys.items():
        assert not int(mode, 8) & 0o077, f"others can read {path} ({mode})"
    note(", ".join(keys))


@pytest.mark.control("postgres-09")
@pytest.mark.look(servers)
def test_the_ways_lead_to_the_leader(sight: Sight, settings: Settings, machine: Machine, note: Note) -> None:
    """HAProxy leads to the server that takes writes, and its other port to one that does not; PgBouncer comes by it."""
    leader, own = _leader(settings, sight), _own(settings, sight)
    assert settings.postgres
    led = {way.get("name") or way["answer"] for way in own["ways"]["leader"]}
    assert led == {leader}, f"the way to the leader ({leader}) ends at {', '.join(sorted(led - {leader}))}"
    aside = own["ways"]["replicas"][0]
    if any((row or {}).get("state") == "streaming" for row in sight.data.all[leader]["sql"]["standbys"] or ()):
        assert aside.get("name") in set(sight.data.all) - {leader}, f"the way to replicas ends at {aside}"
    for name in settings.postgres.databases:
        line = next((one for one in own["pool"] if one.startswith(f"{name} = ")), "")
        assert f"host=127.0.0.1 port={LEADER_PORT} dbname={name} " in line, f"the pool leads {name} elsewhere"
    note(f"127.0.0.1:{LEADER_PORT} to {leader}, {REPLICA_PORT} to {aside.get('name', 'nobody')}")


@pytest.mark.control("postgres-09")
@pytest.mark.look(servers)
def test_the_pool_asks_for_tls_and_password(sight: Sight, settings: Settings, note: Note) -> None:
    """PgBouncer refuses what is plain, TLS 1.1 and a wrong password; over TLS it asks for scram."""
    tries = _own(settings, sight)["tries"]
    right, old = tries["pool: right"], tries["pool: TLS 1.1"]["answer"]
    assert right["answer"] == "asks for scram", f"the pool does not ask for a password: {right['answer']}"
    assert right["tls"] in _TLS, f"the pool speaks {right['tls']}"
    for what in ("pool: no TLS", "pool: wrong password"):
        answer = tries[what]["answer"] if what in tries else "refuses"
        assert answer.startswith("refuses"), f"the pool does not refuse ({what}): {answer}"
    assert old.startswith("no TLS"), f"the pool takes TLS 1.1: {old}"
    assert "ALERT" in old, f"TLS 1.1 could not be tried: {old}"
    note("refused: no TLS, TLS 1.1, a wrong password")


@pytest.mark.control("postgres-10")
@pytest.mark.look(servers)
def test_changes_are_logged(sight: Sight, settings: Settings, note: Note) -> None:
    """pgaudit is loaded and logs changes of tables, roles and rights; nobody is exempt; who connects is logged."""
    facts = _own(settings, sight)["sql"]
    values = facts["settings"]
    assert "pgaudit" in values["shared_preload_libraries"].split(","), "pgaudit is not loaded"
    kinds = {word.strip() for word in (values["pgaudit.log"] or "").split(",")}
    assert {"ddl", "role"} <= kinds or "all" in kinds, f"pgaudit logs {values['pgaudit.log'] or 'nothing'}"
    for name, wanted in _LOGGED.items():
        assert values[name] == wanted, f"{name} is {values[name]}"
    exempt = [line for line in facts["overrides"] or () if ": pgaudit." in line or ": log_" in line]
    assert not exempt, f"somebody is logged otherwise: {exempt[0]}"
    note(f"pgaudit: {values['pgaudit.log']}")
