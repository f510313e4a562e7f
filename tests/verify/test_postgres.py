"""How the databases are kept: what each server says, who leads, and what crosses the wire on the way elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.controls.postgres import lag_seconds
from bastide.layout.postgres import DATA, PROGRAM
from bastide.layout.wireguard import INTERFACE
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.probes import etcd, postgres
from tests.verify.probes.postgres import TLS, leader_of, own_of
from tests.verify.probes.postgres_rules import differs, position, runs_nothing_else, shared_settings
from tests.verify.probes.postgres_running import exempt
from tests.verify.probes.world import Observation

_LOGGED = {"log_connections": "on", "log_disconnections": "on"}
Note = Callable[[str], None]


@pytest.mark.control("postgres-01")
@pytest.mark.probe(postgres.servers)
def test_the_standby_streams(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Every other server streams from the one that leads, and is no further behind than allowed."""
    leader = leader_of(settings, observation)
    assert settings.postgres
    rows = {one["name"]: one for one in observation.data.all[leader]["sql"]["standbys"] or ()}
    followers = [name for name in observation.data.all if name != leader]
    for name in followers if machine.name == leader else [machine.name]:
        row = rows.get(name)
        assert row, f"{name} does not stream from {leader}"
        assert row["state"] == "streaming", f"{name} does not stream: {row['state']}"
        assert row["tls"] in TLS, f"{name} streams by {row['tls'] or 'no TLS'}"
        most = settings.postgres.max_failover_lag_mb * 2**20
        assert row["bytes"] <= most, f"{name} is {row['bytes']:.0f} bytes behind"
        assert row["seconds"] <= lag_seconds(settings.postgres), f"{name} is {row['seconds']:.0f} seconds behind"
    kinds = sorted({row["sync"] for row in rows.values()})
    countries = {inventory[name].country for name in rows}
    assert countries - {inventory[leader].country}, "no standby streams in another country"
    behind = max(row["bytes"] for row in rows.values())
    note(f"{', '.join(rows)} from {leader}: {', '.join(kinds)}, {behind:.0f} bytes behind")


@pytest.mark.control("postgres-01")
@pytest.mark.probe(postgres.servers)
def test_the_standby_knows_whom_it_follows(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """A server that follows does so with sslmode=verify-full, from where the leader is."""
    leader, own = leader_of(settings, observation), own_of(settings, observation)
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


@pytest.mark.control("postgres-04")
@pytest.mark.probe(postgres.marked)
def test_a_word_is_not_read_on_the_way(observation: Observation, machine: Machine, note: Note) -> None:
    """A word in the stream of changes passes no interface of a site where it could be read, the mesh's included."""
    seen: dict[str, dict[str, Any]] = observation.data
    own = seen[machine.name]
    leaders = [name for name, found in seen.items() if found["leads"]]
    assert len(leaders) == 1, "nobody leads, so nothing was sent"
    written = seen[leaders[0]]["written"]
    assert position(written), "the word could not be written"
    assert not own["open"], f"the word can be read on {', '.join(own['open'])}"
    for name, found in seen.items():
        if not found["leads"]:
            assert position(found["there"]) >= position(written), f"the word did not come to {name}"
    assert postgres.looked_together(seen), "not every site looked while the word was written"
    assert INTERFACE in own["sealed"], "no encrypted packet of the databases passed by: silence proves nothing"
    note(f"the word was written on {leaders[0]} and read on the way nowhere; TLS records in {INTERFACE}")


@pytest.mark.control("postgres-05")
@pytest.mark.probe(postgres.servers)
def test_checksums_are_on(observation: Observation, settings: Settings, note: Note) -> None:
    """The running server writes and compares checksums, and has found none that was wrong."""
    facts = own_of(settings, observation)["sql"]
    assert facts["settings"]["data_checksums"] == "on", "pages carry no checksum"
    assert facts["page_version"] == 1, "the cluster was made without checksums"
    assert facts["broken"] == 0, f"{count(int(facts['broken']), 'page')} had a wrong checksum"
    note("on; no page was found wrong")


@pytest.mark.control("postgres-07")
@pytest.mark.probe(postgres.servers)
def test_one_server_leads(observation: Observation, settings: Settings, note: Note) -> None:
    """One server takes writes, and every Patroni names the same one."""
    leader = leader_of(settings, observation)
    said = own_of(settings, observation)["api"]["said"]
    for name, one in said.items():
        assert one, f"Patroni on {name} does not answer"
        role = "leader" if one["role"] in ("primary", "master") else "replica"
        assert role == ("leader" if name == leader else "replica"), f"{name} is {role} for Patroni, and {leader} leads"
        assert not one.get("pause"), "nobody would take over: Patroni is paused"
        assert one["state"] == "running", f"{name} is {one['state']}"
        assert not one.get("pending_restart"), f"{name} runs with older settings until it is restarted"
    note(f"{leader} leads, as {count(len(said), 'Patroni', 'Patronis')} and the servers say")


@pytest.mark.control("postgres-07")
@pytest.mark.probe(postgres.servers)
def test_the_rules_of_leading_are_the_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """What all members share is as declared: how soon a leader gives up, and that nobody leads without votes."""
    found = own_of(settings, observation)["api"]["config"]
    assert settings.postgres
    wanted = shared_settings(settings.postgres)
    assert found, "Patroni does not say what all members share"
    problem = differs(found, wanted)
    assert not problem, f"what all members share: {problem}"
    note(f"ttl {found['ttl']} s, failsafe off, synchronous {'on' if found['synchronous_mode'] else 'off'}")


@pytest.mark.control("postgres-07")
@pytest.mark.probe(postgres.servers)
def test_changing_the_leader_takes_more(observation: Observation, settings: Settings, note: Note) -> None:
    """Patroni's API answers over TLS, and refuses to change something without a certificate, or without a password."""
    api = own_of(settings, observation)["api"]
    assert api["read"]["status"] == "200", f"it answers nobody ({api['read']['why'] or api['read']['status']})"
    assert api["no TLS"]["status"] != "200", "it answers without TLS"
    for what in ("no certificate", "no password"):
        status = api[what]["status"]
        assert status in ("401", "403"), f"it takes a change with {what} ({status or api[what]['why']})"
    note("refused: no certificate, no password")


@pytest.mark.control("postgres-10")
@pytest.mark.probe(postgres.servers)
def test_changes_are_logged(observation: Observation, settings: Settings, note: Note) -> None:
    """pgaudit is loaded and logs changes of tables, roles and rights; nobody is exempt; who connects is logged."""
    facts = own_of(settings, observation)["sql"]
    values = facts["settings"]
    assert "pgaudit" in values["shared_preload_libraries"].split(","), "pgaudit is not loaded"
    kinds = {word.strip() for word in (values["pgaudit.log"] or "").split(",")}
    assert {"ddl", "role"} <= kinds or "all" in kinds, f"pgaudit logs {values['pgaudit.log'] or 'nothing'}"
    for name, wanted in _LOGGED.items():
        assert values[name] == wanted, f"{name} is {values[name]}"
    pool = own_of(settings, observation)["pool_config"]
    assert pool, "PgBouncer does not say what it goes by"
    for name in _LOGGED:
        value = pool.get(name, [None])[0]
        assert value == "1", f"applications meet the pool, and its {name} is {value}"
    others = exempt(facts["overrides"] or ())
    assert not others, f"somebody is logged otherwise: {others[0]}"
    note(f"pgaudit: {values['pgaudit.log']}")


@pytest.mark.control("postgres-14")
@pytest.mark.probe(postgres.servers)
def test_the_votes_run_nothing(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """No setting of the running server runs a program, loads code or reads rules that nobody declared.

    Its Patroni is the one for which only numbers and plain words count of what stands in the votes.
    """
    own = own_of(settings, observation)
    problem = runs_nothing_else(own["sql"]["settings"], DATA, settings.mesh[machine.name])
    assert not problem, problem
    assert PROGRAM in own["program"], f"its Patroni takes whatever stands in the votes: {' '.join(own['program'][:2])}"
    note(f"{count(len(own['sql']['settings']), 'setting')}, {PROGRAM}")


@pytest.mark.control("postgres-14")
@pytest.mark.probe(etcd.members)
def test_nothing_else_stands_in_the_votes(observation: Observation, settings: Settings, note: Note) -> None:
    """What all members share, as the voters keep it, is what is declared, whole."""
    assert settings.postgres
    text = observation.data.own.get("patroni", {}).get("shared")
    if text is None:
        note("it has no vote")
        return
    found = json.loads(text) if text.startswith("{") else {}
    assert found, f"the voters do not say what all members share: {text[-80:]}"
    problem = differs(
        {key: value for key, value in found.items() if key != "pause"}, shared_settings(settings.postgres)
    )
    assert not problem, f"in the votes: {problem}"
    note(f"{count(len(found), 'name')}, all declared")
