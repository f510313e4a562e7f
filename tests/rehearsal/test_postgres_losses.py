"""What becomes of data that another owner, another cluster or a lost machine had."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bastide.layout.postgres import DATA
from bastide.stackfile import load
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.day_two import said
from tests.rehearsal.stack import Rehearsal, wait_for
from tests.rehearsal.test_provider import servers

LAB = "database"


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster, and clients that write. Afterwards the primary leads again."""
    yield from lent(rehearsal)


@pytest.mark.full("faults")
def test_another_owner_gets_what_the_first_one_made_and_nothing_is_dropped(
    rehearsal: Rehearsal, writers: Writers
) -> None:
    """Tables and sequences change hands; a role that nobody names any more stays, and cannot log in."""
    owner, heir = writers.owner, f"{writers.owner}2"
    roles = dict(load(rehearsal.file)["config"]["bastide:settings"]["postgres"]["databases"][writers.database]["roles"])
    whose = "select string_agg(distinct pg_get_userbyid(relowner), ' ') from pg_class where relname ~ '^kept'"
    writers.sql(writers.leader(), f'set role "{owner}"; create table kept (n serial primary key)')
    try:
        renamed = {heir if role == owner else role: right for role, right in roles.items()}
        with rehearsal.settings_changed(f"postgres.databases.{writers.database}.roles", renamed):
            rehearsal.deploy("--data", "only=postgres")
            assert writers.sql(writers.leader(), whose) == heir
            can = f"select rolname, rolcanlogin from pg_roles where rolname in ('{owner}', '{heir}') order by 1"
            assert writers.sql(writers.leader(), can).split() == [f"{owner}|f", f"{heir}|t"]
            assert rehearsal.dry("--data", "only=postgres") == {}
        rehearsal.deploy("--data", "only=postgres")
        assert writers.sql(writers.leader(), whose) == owner
    finally:
        writers.sql(writers.leader(), "drop table if exists kept")
    writers.sql(writers.leader(), f'drop owned by "{heir}"; drop role "{heir}"')
    assert rehearsal.dry("--data", "only=postgres") == {}


@pytest.mark.full("faults")
def test_the_data_of_another_cluster_are_refused_and_not_wiped(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    aside = f"{DATA}.aside"
    rehearsal.exec(
        other,
        f"systemctl stop patroni; mv {DATA} {aside}; "
        f"runuser -u postgres -- /usr/lib/postgresql/17/bin/initdb -A peer -D {DATA} >/dev/null; touch {DATA}/precious",
    )
    try:
        done = rehearsal.deploy(check=False)
        assert not done.ok
        assert f"{other}: {DATA} holds the data of another cluster (system identifier " in said(done)
        assert f"`mv {DATA} {aside}` there" in said(done)
        rehearsal.exec(other, f"test -e {DATA}/precious")
    finally:
        rehearsal.exec(other, f"rm -r {DATA}; mv {aside} {DATA}; systemctl start patroni")
    writers.healed()


def lose(rehearsal: Rehearsal, name: str, *, volume: bool) -> None:
    """Delete a server behind Pulumi's back, with its volume or without; then one up and one deploy."""
    (lost,) = [server for server in servers(rehearsal) if server["name"] == name]
    unprotected = {"delete": False, "rebuild": False}
    rehearsal.api("POST", f"/v1/servers/{lost['id']}/actions/change_protection", unprotected)
    rehearsal.api("DELETE", f"/v1/servers/{lost['id']}")
    wait_for(lambda: len(servers(rehearsal)) == 2, "the server is gone")
    for number in lost["volumes"] if volume else []:
        rehearsal.api("POST", f"/v1/volumes/{number}/actions/change_protection", {"delete": False})
        rehearsal.api("DELETE", f"/v1/volumes/{number}")
    rehearsal.pulumi("up", "--yes", "--skip-preview", "--refresh")
    rehearsal.deploy(timeout=600)
    rehearsal.make("inventory")


def came_back(rehearsal: Rehearsal, writers: Writers) -> None:
    """All is well without hands, and nothing is left to do."""
    writers.healed()
    members = writers.rehearsal.exec("primary", "timeout 10 bastide-etcdctl -w json member list").stdout
    assert sorted(one["name"] for one in json.loads(members)["members"]) == ["primary", "standby", "witness"]
    assert rehearsal.dry() == {}


@pytest.mark.full("losses")
@pytest.mark.parametrize("volume", [False, True], ids=["volume-kept", "volume-lost"])
@pytest.mark.parametrize("name", ["standby", "witness", "primary"])
def test_a_lost_machine_comes_back_by_itself(rehearsal: Rehearsal, writers: Writers, name: str, volume: bool) -> None:
    """Whether etcd's data came back with the volume or are gone; a lost leader comes back as a replica."""
    writers.switchover("primary")
    lose(rehearsal, name, volume=volume)
    came_back(rehearsal, writers)
    assert writers.leader() == ("standby" if name == "primary" else "primary")
