"""What the servers, the pool and the ways to them go by, whatever their files say; and what a commit waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.postgres import PORT, ROUTER_CONFIG
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.probes import postgres
from tests.verify.probes.postgres import leader_of, own_of, roles_of
from tests.verify.probes.postgres_running import (
    day,
    declared_settings,
    few,
    let_in,
    not_durable,
    not_waiting,
    pool_differs,
    pool_settings,
    pool_ways,
    settings_differ,
    told_otherwise,
)
from tests.verify.probes.world import Observation

Note = Callable[[str], None]


@pytest.mark.control("postgres-01")
@pytest.mark.probe(postgres.servers)
def test_every_table_is_sent(observation: Observation, settings: Settings, note: Note) -> None:
    """No table is unlogged but the declared ones: such a table exists on one site alone, and is empty after a crash."""
    found = _running(observation, settings)["databases"]
    assert settings.postgres
    declared = {name: set(one.unlogged) for name, one in settings.postgres.databases.items()}
    seen = {name: one["unlogged"] for name, one in found.items() if one is not None}
    assert set(seen) >= set(declared), f"it does not say which tables are in {few(sorted(set(declared) - set(seen)))}"
    stray = [f"{name}: {table}" for name in seen for table in seen[name] if table not in declared.get(name, set())]
    assert not stray, f"unlogged, so that no other site has it: {few(stray)}"
    note(f"{count(sum(map(len, seen.values())), 'unlogged table')} in {count(len(seen), 'database')}")


@pytest.mark.control("postgres-11")
@pytest.mark.probe(postgres.servers)
def test_a_commit_waits_as_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """The leader waits for a standby where that is declared, and for none where it is not."""
    leader = leader_of(settings, observation)
    assert settings.postgres
    rows: list[dict[str, Any]] = observation.data.all[leader]["sql"]["standbys"] or []
    waits = settings.postgres.durability == "zero-loss"
    kinds = sorted({row["sync"] for row in rows} - {"potential"})
    assert not waits or {"sync", "quorum"} & set(kinds), (
        f"a commit waits for no standby: they are {' and '.join(kinds) or 'none'}"
    )
    assert waits or not {"sync", "quorum"} & set(kinds), "a commit waits for a standby, which nobody declared"
    note(f"{', '.join(row['name'] for row in rows)} of {leader}: {', '.join(kinds) or 'none'}")


@pytest.mark.control("postgres-11")
@pytest.mark.probe(postgres.servers)
def test_no_role_or_database_waits_less(observation: Observation, settings: Settings, note: Note) -> None:
    """What is acknowledged is kept: by the server, and for every role and database that is told something else."""
    own = own_of(settings, observation)
    running = _running(observation, settings)
    waits = _waits(settings)
    problem = not_durable(running["held"], waits=waits)
    assert not problem, f"what is acknowledged may be lost: {problem}"
    less = not_waiting(own["sql"]["overrides"] or ()) if waits else []
    assert not less, f"whose commits do not wait: {few(less)}"
    assert not waits or not running["subscriptions"], (
        f"a subscription that tells of rows before the other site has them: {few(running['subscriptions'])}"
    )
    note(
        ", ".join(
            f"{name} {value}" for name, value in running["held"].items() if name in ("synchronous_commit", "fsync")
        )
    )


@pytest.mark.control("postgres-11")
@pytest.mark.probe(postgres.servers)
def test_nobody_was_seen_to_decline(observation: Observation, settings: Settings, note: Note) -> None:
    """No statement in the server's statistics and no function sets less for itself; the pool takes nobody who does."""
    running = _running(observation, settings)
    if not _waits(settings):
        note("commits wait for nobody")
        return
    statements = running["statements"]
    assert statements is not None, "the server keeps no statistics of statements: nobody would be seen"
    assert not statements["declines"], f"seen to decline to wait: {few(statements['declines'])}"
    inside = [f"{name}: {what}" for name, one in running["databases"].items() if one for what in one["declines"]]
    assert not inside, f"a function that declines to wait: {few(inside)}"
    answer = own_of(settings, observation)["tries"]["pool: does not wait"]["answer"]
    assert answer.startswith("refuses"), f"the pool takes a session whose commits do not wait: {answer}"
    note("no statement, no function, none through the pool at its start")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_the_settings_in_force_are_the_declared(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Every setting that somebody gave the running server is declared, has that value, and came from Patroni."""
    running = _running(observation, settings)
    rows = running["settings"]
    by_hand = running["by_hand"]
    assert not by_hand, f"set by hand (ALTER SYSTEM): {few(by_hand)}"
    problem = settings_differ(rows, declared_settings(settings, machine.name, inventory.stack))
    assert not problem, problem
    told = told_otherwise(own_of(settings, observation)["sql"]["overrides"] or ())
    assert not told, f"told otherwise than all: {few(told)}"
    assert not running["wrong"], f"its files hold what it cannot read: {few(running['wrong'])}"
    assert not running["waits"], f"it runs with older settings until it is restarted: {few(running['waits'])}"
    assert running["held"]["allow_alter_system"] == "off", "ALTER SYSTEM may change any of it"
    note(f"{count(len(rows), 'setting')}, none by hand")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_nothing_was_read_and_put_back(observation: Observation, settings: Settings, note: Note) -> None:
    """No file was changed after the server, Patroni or HAProxy last read it: what they read is what stands there."""
    running = _running(observation, settings)
    for who, unread in (
        ("the server", running["unread"]),
        ("Patroni", running["patroni_unread"]),
        ("HAProxy", running["router"]["unread"]),
    ):
        assert not unread, f"changed after {who} last read it: {few(unread)}"
    note(f"{count(len(running['files']), 'file')} of the server, Patroni's and HAProxy's")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_patroni_treats_all_members_alike(observation: Observation, settings: Settings, note: Note) -> None:
    """No running Patroni has a tag: it would not take over, or no commit would wait for it."""
    said = own_of(settings, observation)["api"]["said"]
    for name, one in said.items():
        assert one, f"Patroni on {name} does not answer"
        tags = [f"{tag}: {value}" for tag, value in (one.get("tags") or {}).items()]
        assert not tags, f"{name} is set apart by Patroni's tag {few(tags)}"
    note(f"no tags at {count(len(said), 'Patroni', 'Patronis')}")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_the_pool_goes_by_what_is_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """PgBouncer's settings in memory are the declared ones or its defaults, and each name leads where it should."""
    own = own_of(settings, observation)
    problem = pool_differs(own["pool_config"], pool_settings(own["pool_limits"]["clients"]))
    assert not problem, f"the pool: {problem}"
    declared = pool_ways(settings)
    for name in sorted({*declared, *own["pool"]}):
        there, wanted = own["pool"].get(name), declared.get(name)
        assert there == wanted, f"the pool leads {name} to {' '.join(there or ['nowhere'])}"
    note(f"{count(len(own['pool_config']), 'setting')}, {count(len(declared), 'name')}")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_haproxy_leads_to_the_sites_alone(observation: Observation, settings: Settings, note: Note) -> None:
    """HAProxy's worker leads to every site's server, to nobody else, and nobody has put one out of use."""
    router = _running(observation, settings)["router"]
    assert router["files"] == [ROUTER_CONFIG], f"HAProxy reads {few(router['files']) or 'nothing'}"
    wanted = sorted(
        [way, name, f"{settings.mesh[name]}:{PORT}", "0"] for way in ("leader", "replicas") for name in settings.sites
    )
    found = sorted(router["servers"])
    assert found, "HAProxy does not say whom it leads to"
    stray = [" ".join(row) for row in found if row not in wanted] or [
        " ".join(row) for row in wanted if row not in found
    ]
    assert not stray, f"HAProxy leads otherwise: {few(stray)}"
    note(f"to {count(len(settings.sites), 'server')}")


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_everybody_else_is_refused(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """Who comes another way than a declared role may, or as somebody else, is refused; a password is asked of the rest.

    Each role, to a database of its own and to another one, over TLS and without, from all addresses, at the socket.
    """
    own = own_of(settings, observation)
    ways = own["ways"]
    problem = let_in(ways, roles_of(settings), settings.mesh[machine.name])
    assert not problem, f"it does not refuse {problem}"
    running = _running(observation, settings)
    assert not running["mapped"], "pg_ident.conf lets somebody pass for somebody else"
    sources = {way["source"] for way in ways if not way["source"].startswith("the socket")}
    note(f"{count(len(ways), 'way')} tried, from {count(len(sources), 'address', 'addresses')} and the socket")


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_the_rules_were_not_read_and_put_back(observation: Observation, settings: Settings, note: Note) -> None:
    """pg_hba.conf shows the file: it was not changed after the server last read it."""
    running = _running(observation, settings)
    unread = [name for name in running["unread"] if not name.startswith("postgresql.")]
    assert not unread, f"changed after the server last read it, so that nobody can say what it goes by: {few(unread)}"
    note(f"read at {day(running['loaded'])} UTC")


@pytest.mark.control("postgres-13")
@pytest.mark.probe(postgres.servers)
def test_no_password_is_in_log_or_statistics(observation: Observation, settings: Settings, note: Note) -> None:
    """Neither the servers' log nor the statistics of statements hold a password or a verifier. None of it is shown."""
    running = _running(observation, settings)
    statements, logged = running["statements"], running["logged"]
    assert statements is not None, "the server keeps no statistics of statements"
    assert not statements["passwords"], (
        f"the statistics of statements hold a password, from {few(statements['passwords'])}"
    )
    assert logged["asked"], "the log could not be read in time"
    lines = count(logged["lines"], "line")
    assert not logged["lines"], f"the servers' log holds a password in {lines}, the last of {day(logged['last'])} UTC"
    note("none")


def _running(observation: Observation, settings: Settings) -> dict[str, Any]:
    """What the machine's own server goes by."""
    found: dict[str, Any] = own_of(settings, observation)["running"]
    assert "settings" in found, "it does not say what it goes by"
    return found


def _waits(settings: Settings) -> bool:
    assert settings.postgres
    return settings.postgres.durability == "zero-loss"
