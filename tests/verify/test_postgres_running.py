"""What the servers, the pool and the ways to them go by, whatever their files say; and what a commit waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.postgres import PORT, ROUTER_CONFIG
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import postgres
from tests.verify.probes.postgres import leader_of, own_of, roles_of
from tests.verify.probes.postgres_running import (
    day,
    declared_settings,
    let_in,
    not_durable,
    not_waiting,
    pool_differs,
    pool_settings,
    pool_ways,
    router_differs,
    router_limits,
    router_lines,
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
    wrong = [f"it does not say which tables are in {name}" for name in sorted(set(declared) - set(seen))]
    stray = [f"{name}: {table}" for name in seen for table in seen[name] if table not in declared.get(name, set())]
    if stray:
        wrong.append(f"unlogged, so that no other site has it: {', '.join(stray)}")
    judge(wrong)
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
    wrong = [f"what is acknowledged may be lost: {text}" for text in not_durable(running["held"], waits=waits)]
    if waits and (less := not_waiting(own["sql"]["overrides"] or ())):
        wrong.append(f"whose commits do not wait: {', '.join(less)}")
    if waits and running["subscriptions"]:
        names = ", ".join(running["subscriptions"])
        wrong.append(f"a subscription that tells of rows before the other site has them: {names}")
    judge(wrong)
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
    statements, wrong = running["statements"], list[str]()
    if statements is None:
        wrong.append("the server keeps no statistics of statements: nobody would be seen")
    elif statements["declines"]:
        wrong.append(f"seen to decline to wait: {', '.join(statements['declines'])}")
    inside = [f"{name}: {what}" for name, one in running["databases"].items() if one for what in one["declines"]]
    if inside:
        wrong.append(f"a function that declines to wait: {', '.join(inside)}")
    answer = own_of(settings, observation)["tries"]["pool: does not wait"]["answer"]
    if not answer.startswith("refuses"):
        wrong.append(f"the pool takes a session whose commits do not wait: {answer}")
    judge(wrong)
    note("no statement, no function, none through the pool at its start")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_the_settings_in_force_are_the_declared(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Every setting that somebody gave the running server is declared, has that value, and came from Patroni."""
    running = _running(observation, settings)
    rows = running["settings"]
    wrong = list(settings_differ(rows, declared_settings(settings, machine.name, inventory.stack)))
    told = told_otherwise(own_of(settings, observation)["sql"]["overrides"] or ())
    for what, found in (
        ("set by hand (ALTER SYSTEM)", running["by_hand"]),
        ("told otherwise than all", told),
        ("its files hold what it cannot read", running["wrong"]),
        ("it runs with older settings until it is restarted", running["waits"]),
    ):
        if found:
            wrong.append(f"{what}: {', '.join(found)}")
    if running["held"]["allow_alter_system"] != "off":
        wrong.append("ALTER SYSTEM may change any of it")
    judge(wrong)
    note(f"{count(len(rows), 'setting')}, none by hand")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_nothing_was_read_and_put_back(observation: Observation, settings: Settings, note: Note) -> None:
    """No file was changed after the server, Patroni or HAProxy last read it: what they read is what stands there."""
    running = _running(observation, settings)
    judge(
        f"changed after {who} last read it: {', '.join(unread)}"
        for who, unread in (
            ("the server", running["unread"]),
            ("Patroni", running["patroni_unread"]),
            ("HAProxy", running["router"]["unread"]),
        )
        if unread
    )
    note(f"{count(len(running['files']), 'file')} of the server, Patroni's and HAProxy's")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_patroni_treats_all_members_alike(observation: Observation, settings: Settings, note: Note) -> None:
    """No running Patroni has a tag: it would not take over, or no commit would wait for it."""
    said = own_of(settings, observation)["api"]["said"]
    wrong = [f"Patroni on {name} does not answer" for name, one in said.items() if not one]
    for name, one in said.items():
        if tags := [f"{tag}: {value}" for tag, value in ((one or {}).get("tags") or {}).items()]:
            wrong.append(f"{name} is set apart by Patroni's tag {', '.join(tags)}")
    judge(wrong)
    note(f"no tags at {count(len(said), 'Patroni', 'Patronis')}")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_the_pool_goes_by_what_is_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """PgBouncer's settings in memory are the declared ones or its defaults, and each name leads where it should."""
    own = own_of(settings, observation)
    declared, wanted = pool_ways(settings), pool_settings(own["pool_limits"]["clients"])
    wrong = [f"the pool: {text}" for text in pool_differs(own["pool_config"], wanted)]
    wrong += [
        f"the pool leads {name} to {' '.join(own['pool'].get(name) or ['nowhere'])}"
        for name in sorted({*declared, *own["pool"]})
        if own["pool"].get(name) != declared.get(name)
    ]
    judge(wrong)
    note(f"{count(len(own['pool_config']), 'setting')}, {count(len(declared), 'name')}")


@pytest.mark.control("postgres-12")
@pytest.mark.probe(postgres.servers)
def test_haproxy_leads_to_the_sites_alone(observation: Observation, settings: Settings, note: Note) -> None:
    """HAProxy's worker leads to every site's server, to nobody else, and nobody has put one out of use."""
    router = _running(observation, settings)["router"]
    wrong = []
    if router["files"] != [ROUTER_CONFIG]:
        wrong.append(f"HAProxy reads {', '.join(router['files']) or 'nothing'}")
    wanted = sorted(
        [way, name, f"{settings.mesh[name]}:{PORT}", "0"] for way in ("leader", "replicas") for name in settings.sites
    )
    found = sorted(router["servers"])
    if not found:
        wrong.append("HAProxy does not say whom it leads to")
    # a server that is there and is not as it should be is named once, by what it is
    named = [row[:2] for row in found]
    missing = [row for row in wanted if row[:2] not in named] if found else []
    if stray := [" ".join(row) for row in (*(row for row in found if row not in wanted), *missing)]:
        wrong.append(f"HAProxy leads otherwise: {', '.join(stray)}")
    told, declared = router["limits"], router_limits(settings)
    limits = [
        f"{name} {told.get(name, 'is not there')}, not {declared.get(name, 'there')}"
        for name in sorted({*told, *declared})
        if told.get(name) != declared.get(name)
    ]
    if limits:
        wrong.append(f"HAProxy was told otherwise how many it takes: {'; '.join(limits)}")
    if differs := router_differs(router["lines"], router_lines(settings)):
        wrong.append(f"HAProxy's file: {'; '.join(differs)}")
    judge(wrong)
    note(f"to {count(len(settings.sites), 'server')}")


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_everybody_else_is_refused(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """Who comes another way than a declared role may, or as somebody else, is refused; a password is asked of the rest.

    Each role, to a database of its own and to another one, over TLS and without, from all addresses, at the socket.
    """
    own = own_of(settings, observation)
    ways = own["ways"]
    wrong = [f"it does not refuse {text}" for text in let_in(ways, roles_of(settings), settings.mesh[machine.name])]
    if _running(observation, settings)["mapped"]:
        wrong.append("pg_ident.conf lets somebody pass for somebody else")
    judge(wrong)
    sources = {way["source"] for way in ways if not way["source"].startswith("the socket")}
    note(f"{count(len(ways), 'way')} tried, from {count(len(sources), 'address', 'addresses')} and the socket")


@pytest.mark.control("postgres-02")
@pytest.mark.probe(postgres.servers)
def test_the_rules_were_not_read_and_put_back(observation: Observation, settings: Settings, note: Note) -> None:
    """pg_hba.conf shows the file: it was not changed after the server last read it."""
    running = _running(observation, settings)
    unread = [name for name in running["unread"] if not name.startswith("postgresql.")]
    assert not unread, (
        f"changed after the server last read it, so that nobody can say what it goes by: {', '.join(unread)}"
    )
    note(f"read at {day(running['loaded'])} UTC")


@pytest.mark.control("postgres-13")
@pytest.mark.probe(postgres.servers)
def test_no_password_is_in_log_or_statistics(observation: Observation, settings: Settings, note: Note) -> None:
    """Neither the servers' log nor the statistics of statements hold a password or a verifier. None of it is shown."""
    running = _running(observation, settings)
    statements, logged, wrong = running["statements"], running["logged"], list[str]()
    if statements is None:
        wrong.append("the server keeps no statistics of statements")
    elif statements["passwords"]:
        wrong.append(f"the statistics of statements hold a password, from {', '.join(statements['passwords'])}")
    if not logged["asked"]:
        wrong.append("the log could not be read in time")
    elif logged["lines"]:
        lines = count(logged["lines"], "line")
        wrong.append(f"the servers' log holds a password in {lines}, the last of {day(logged['last'])} UTC")
    judge(wrong)
    note("none")


def _running(observation: Observation, settings: Settings) -> dict[str, Any]:
    """What the machine's own server goes by."""
    found: dict[str, Any] = own_of(settings, observation)["running"]
    assert "settings" in found, "it does not say what it goes by"
    return found


def _waits(settings: Settings) -> bool:
    assert settings.postgres
    return settings.postgres.durability == "zero-loss"
