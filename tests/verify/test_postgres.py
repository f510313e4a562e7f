"""How the databases are kept: what each server says, who leads, and what crosses the wire on the way elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bastide.controls import count
from bastide.controls.postgres import lag_seconds
from bastide.layout.postgres import DATA, PROGRAM
from bastide.layout.wireguard import INTERFACE
from bastide.machines import Inventory, Machine
from bastide.settings import Postgres, Settings
from tests.verify.findings import judge
from tests.verify.probes import etcd, postgres
from tests.verify.probes.postgres import TLS, leader_of, own_of
from tests.verify.probes.postgres_rules import differences, position, runs_something_else, shared_settings
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
    wrong: list[str] = []
    for name in followers if machine.name == leader else [machine.name]:
        if row := rows.get(name):
            wrong += _lags(row, settings.postgres)
        else:
            wrong.append(f"{name} does not stream from {leader}")
    kinds = sorted({row["sync"] for row in rows.values()})
    if not {inventory[name].country for name in rows} - {inventory[leader].country}:
        wrong.append("no standby streams in another country")
    judge(wrong)
    behind = max(row["bytes"] for row in rows.values())
    note(f"{', '.join(rows)} from {leader}: {', '.join(kinds)}, {behind:.0f} bytes behind")


def _lags(row: dict[str, Any], postgres: Postgres) -> Iterator[str]:
    """Why a standby, as its leader has it in pg_stat_replication, does not stream as it should."""
    name = row["name"]
    if row["state"] != "streaming":
        yield f"{name} does not stream: {row['state']}"
    if row["tls"] not in TLS:
        yield f"{name} streams by {row['tls'] or 'no TLS'}"
    # one that has only just come has not told how far it is
    if row["bytes"] is None or row["seconds"] is None:
        yield f"{name} does not say how far behind it is"
        return
    if row["bytes"] > postgres.max_failover_lag_mb * 2**20:
        yield f"{name} is {row['bytes']:.0f} bytes behind"
    if row["seconds"] > lag_seconds(postgres):
        yield f"{name} is {row['seconds']:.0f} seconds behind"


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
    wrong = [] if receiver["status"] == "streaming" else [f"it does not stream: {receiver['status']}"]
    if receiver["sslmode"] != "verify-full":
        wrong.append(f"it verifies nobody: sslmode={receiver['sslmode']}")
    if receiver["host"] != settings.mesh[leader]:
        wrong.append(f"it follows {receiver['host']}, which does not lead")
    judge(wrong)
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
    wrong = [f"the word can be read on {', '.join(own['open'])}"] if own["open"] else []
    wrong += [
        f"the word did not come to {name}"
        for name, found in seen.items()
        if not found["leads"] and position(found["there"]) < position(written)
    ]
    if not postgres.looked_together(seen):
        wrong.append("not every site looked while the word was written")
    if INTERFACE not in own["sealed"]:
        wrong.append("no encrypted packet of the databases passed by: silence proves nothing")
    judge(wrong)
    note(f"the word was written on {leaders[0]} and read on the way nowhere; TLS records in {INTERFACE}")


@pytest.mark.control("postgres-05")
@pytest.mark.probe(postgres.servers)
def test_checksums_are_on(observation: Observation, settings: Settings, note: Note) -> None:
    """The running server writes and compares checksums, and has found none that was wrong."""
    facts = own_of(settings, observation)["sql"]
    wrong = [] if facts["settings"]["data_checksums"] == "on" else ["pages carry no checksum"]
    if facts["page_version"] != 1:
        wrong.append("the cluster was made without checksums")
    if facts["broken"] is None:
        wrong.append("nobody counts wrong checksums")
    elif facts["broken"] != 0:
        wrong.append(f"{count(int(facts['broken']), 'page')} had a wrong checksum")
    judge(wrong)
    note("on; no page was found wrong")


@pytest.mark.control("postgres-07")
@pytest.mark.probe(postgres.servers)
def test_one_server_leads(observation: Observation, settings: Settings, note: Note) -> None:
    """One server takes writes, and every Patroni names the same one."""
    leader = leader_of(settings, observation)
    said = own_of(settings, observation)["api"]["said"]
    judge(text for name, one in said.items() for text in _unlike(name, one, leader))
    note(f"{leader} leads, as {count(len(said), 'Patroni', 'Patronis')} and the servers say")


def _unlike(name: str, said: dict[str, Any] | None, leader: str) -> Iterator[str]:
    """What the Patroni of one site says otherwise than it should."""
    if not said:
        yield f"Patroni on {name} does not answer"
        return
    role = "leader" if said["role"] in ("primary", "master") else "replica"
    if role != ("leader" if name == leader else "replica"):
        yield f"{name} is {role} for Patroni, and {leader} leads"
    if said.get("pause"):
        yield "nobody would take over: Patroni is paused"
    if said["state"] != "running":
        yield f"{name} is {said['state']}"
    if said.get("pending_restart"):
        yield f"{name} runs with older settings until it is restarted"


@pytest.mark.control("postgres-07")
@pytest.mark.probe(postgres.servers)
def test_the_rules_of_leading_are_the_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """What all members share is as declared: how soon a leader gives up, and that nobody leads without votes."""
    found = own_of(settings, observation)["api"]["config"]
    assert settings.postgres
    assert found, "Patroni does not say what all members share"
    judge(f"what all members share: {text}" for text in differences(found, shared_settings(settings.postgres)))
    note(f"ttl {found['ttl']} s, failsafe off, synchronous {'on' if found['synchronous_mode'] else 'off'}")


@pytest.mark.control("postgres-07")
@pytest.mark.probe(postgres.servers)
def test_changing_the_leader_takes_more(observation: Observation, settings: Settings, note: Note) -> None:
    """Patroni's API answers over TLS, and refuses to change something without a certificate, or without a password."""
    api = own_of(settings, observation)["api"]
    read, wrong = api["read"], list[str]()
    if read["status"] != "200":
        wrong.append(f"it answers nobody ({read['why'] or read['status']})")
    if api["no TLS"]["status"] == "200":
        wrong.append("it answers without TLS")
    wrong += [
        f"it takes a change with {what} ({api[what]['status'] or api[what]['why']})"
        for what in ("no certificate", "no password")
        if api[what]["status"] not in ("401", "403")
    ]
    judge(wrong)
    note("refused: no certificate, no password")


@pytest.mark.control("postgres-10")
@pytest.mark.probe(postgres.servers)
def test_changes_are_logged(observation: Observation, settings: Settings, note: Note) -> None:
    """pgaudit is loaded and logs changes of tables, roles and rights; nobody is exempt; who connects is logged."""
    facts = own_of(settings, observation)["sql"]
    values, pool = facts["settings"], own_of(settings, observation)["pool_config"]
    wrong = [] if "pgaudit" in values["shared_preload_libraries"].split(",") else ["pgaudit is not loaded"]
    kinds = {word.strip() for word in (values["pgaudit.log"] or "").split(",")}
    if not ({"ddl", "role"} <= kinds or "all" in kinds):
        wrong.append(f"pgaudit logs {values['pgaudit.log'] or 'nothing'}")
    wrong += [f"{name} is {values[name]}" for name, wanted in _LOGGED.items() if values[name] != wanted]
    if not pool:
        wrong.append("PgBouncer does not say what it goes by")
    for name in _LOGGED if pool else ():
        value = pool.get(name, [None])[0]
        if value != "1":
            wrong.append(f"applications meet the pool, and its {name} is {value}")
    wrong += [f"somebody is logged otherwise: {line}" for line in exempt(facts["overrides"] or ())]
    judge(wrong)
    note(f"pgaudit: {values['pgaudit.log']}")


@pytest.mark.control("postgres-10")
@pytest.mark.probe(postgres.logged)
def test_what_happens_comes_into_the_log(observation: Observation, note: Note) -> None:
    """A connection, a change of tables and a name at the pool, all made for this, stand in the journal a moment later.

    The change is made where changes can be made, and taken back.
    """
    seen: dict[str, bool] = observation.data
    names = {"connections": "a connection", "changes": "a change of tables", "pool": "a client of the pool"}
    judge(f"{text} does not come into the journal" for what, text in names.items() if seen.get(what) is False)
    note(f"found: {', '.join(text for what, text in names.items() if seen.get(what))}")


@pytest.mark.control("postgres-14")
@pytest.mark.probe(postgres.servers)
def test_the_votes_run_nothing(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """No setting of the running server runs a program, loads code or reads rules that nobody declared.

    Its Patroni is the one for which only numbers and plain words count of what stands in the votes.
    """
    own = own_of(settings, observation)
    wrong = runs_something_else(own["sql"]["settings"], DATA, settings.mesh[machine.name])
    if PROGRAM not in own["program"]:
        wrong.append(f"its Patroni takes whatever stands in the votes: {' '.join(own['program'][:2])}")
    judge(wrong)
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
    kept = {key: value for key, value in found.items() if key != "pause"}
    judge(f"in the votes: {text}" for text in differences(kept, shared_settings(settings.postgres)))
    note(f"{count(len(found), 'name')}, all declared")
