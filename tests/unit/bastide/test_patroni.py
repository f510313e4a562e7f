"""Patroni's answers, read: who leads, who follows and how far behind, what waits, what is paused."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from bastide import patroni
from bastide.patroni import ClusterState, cluster_state, dynamic_configuration, server_state, version_number

# as Patroni 4.0.6 has said it
LEADER = {
    **{"name": "primary", "role": "leader", "state": "running", "api_url": "https://10.21.0.11:8008/patroni"},
    **{"host": "10.21.0.11", "port": 5432, "timeline": 3},
}
FOLLOWER = {
    **{"name": "standby", "role": "sync_standby", "state": "streaming", "api_url": "https://10.21.0.12:8008/patroni"},
    **{"host": "10.21.0.12", "port": 5432, "timeline": 3, "lag": 3 * 2**20},
}
OWN = {
    **{"state": "running", "postmaster_start_time": "2026-01-02 03:04:05.678901+00:00", "role": "primary"},
    **{"server_version": 170006, "timeline": 3, "patroni": {"version": "4.0.6", "scope": "bastide", "name": "primary"}},
}
INSTALLED = "postgres (PostgreSQL) 17.6 (Debian 17.6-1)"


def cluster(*members: dict[str, Any], **more: object) -> ClusterState:
    found = cluster_state({"members": list(members), "scope": "bastide", **more})
    assert found
    return found


def test_a_cluster_that_is_well() -> None:
    found = cluster(LEADER, FOLLOWER)
    assert (found.leader, found.paused, found.restart_waits, found.unwell) == ("primary", False, False, ())
    (follower,) = found.followers
    assert (follower.name, follower.in_sync, follower.streams, follower.lag) == ("standby", True, True, 3 * 2**20)
    leader = found.member("primary")
    assert leader
    assert (leader.leads, leader.lag, leader.timeline, leader.base_url) == (True, None, 3, "https://10.21.0.11:8008")
    assert found.member("other") is None


@pytest.mark.parametrize(
    "members",
    [
        (),
        (FOLLOWER,),
        ({**LEADER, "state": "stopping"}, FOLLOWER),
        ({**LEADER, "role": "standby_leader"}, FOLLOWER),
    ],
    ids=["no member", "a follower alone", "the lock without a server", "of another cluster's"],
)
def test_nobody_leads_and_then_all_follow_and_none_is_well(members: tuple[dict[str, Any], ...]) -> None:
    found = cluster(*members)
    assert found.leader == ""
    assert found.followers == found.unwell == found.members


def test_a_follower_that_does_not_stream() -> None:
    found = cluster(LEADER, {**FOLLOWER, "role": "replica", "state": "start failed", "lag": "unknown"})
    (follower,) = found.unwell
    assert (follower.in_sync, follower.streams, follower.well, follower.lag) == (False, False, False, None)


def test_what_waits_and_what_is_paused() -> None:
    assert cluster(LEADER, {**FOLLOWER, "pending_restart": True}).restart_waits
    assert cluster(LEADER, FOLLOWER, pause=True).paused


@pytest.mark.parametrize("answer", [None, {}, [], "503", {"members": None}])
def test_no_answer_is_none(answer: object) -> None:
    assert cluster_state(answer) is None


def test_what_is_no_member_is_left_out() -> None:
    assert cluster(LEADER, "?").members == cluster(LEADER).members
    (bare,) = cluster({"name": "primary"}).members
    assert (bare.role, bare.state, bare.leads, bare.well) == ("", "", False, False)


def test_a_server_that_runs() -> None:
    own = server_state(OWN)
    assert own
    assert (own.runs, own.leads, own.server_version, own.paused) == (True, True, 170006, False)
    assert own.started == "2026-01-02 03:04:05.678901+00:00"
    assert not own.restart_waits(INSTALLED)
    assert not own.restart_waits("")


@pytest.mark.parametrize("role", ["primary", "master"])
def test_the_leaders_server_by_its_own_word(role: str) -> None:
    own = server_state({**OWN, "role": role})
    assert own
    assert own.leads


def test_a_restart_waits_for_a_setting_or_a_newer_program() -> None:
    reason = {"max_connections": {"old_value": "100", "new_value": 80}}
    own = server_state({**OWN, "pending_restart": True, "pending_restart_reason": reason})
    assert own
    assert own.restart_waits("")
    assert dict(own.pending) == {"max_connections": ("100", "80")}
    own = server_state(OWN)
    assert own
    assert own.restart_waits("postgres (PostgreSQL) 17.7 (Debian 17.7-1)")
    # one that is on its way up has no version yet
    starting = server_state({"state": "starting", "role": "replica"})
    assert starting
    assert not starting.restart_waits(INSTALLED)
    assert server_state(None) is None
    assert server_state({}) is None


def test_a_pause_is_no_setting() -> None:
    found = dynamic_configuration({"ttl": 20, "synchronous_mode": True, "pause": True})
    assert found
    assert (found.settings, found.paused, found.synchronous) == ({"ttl": 20, "synchronous_mode": True}, True, True)
    empty = dynamic_configuration({})
    assert empty
    assert (empty.settings, empty.paused, empty.synchronous) == ({}, False, False)
    assert dynamic_configuration(None) is None


@pytest.mark.parametrize(
    ("said", "number"),
    [(INSTALLED, 170006), ("postgres (PostgreSQL) 17.10", 170010), ("postgres (PostgreSQL) 17", 170000)],
)
def test_a_version_as_a_number(said: str, number: int) -> None:
    assert version_number(said) == number


def test_it_can_be_sent_to_a_machine_as_it_stands() -> None:
    tree = ast.parse(Path(patroni.__file__).read_text(encoding="utf-8"))
    modules = {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    modules |= {name.name for one in ast.walk(tree) if isinstance(one, ast.Import) for name in one.names}
    assert {str(name).partition(".")[0] for name in modules} <= sys.stdlib_module_names
