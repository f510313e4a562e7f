"""Whether a machine may go down, and whether it is back."""

from __future__ import annotations

from typing import Any

import pytest

from hosts.commands.health.observation import Observation
from hosts.commands.health.others import against_going_down, is_back, leads

LEADER = {"name": "primary", "role": "leader", "state": "running"}
FOLLOWER = {"name": "standby", "role": "sync_standby", "state": "streaming"}
SAID: dict[str, Any] = {"members": [LEADER, FOLLOWER]}


def machines(said: dict[str, Any] = SAID, **changed: dict[str, object]) -> list[Observation]:
    """Three well machines, but for what is `changed`, by name."""
    plain: dict[str, dict[str, object]] = {
        "primary": {"patroni": said, "voter": True},
        "standby": {"patroni": said, "voter": True},
        "witness": {"voter": True},
    }
    return [Observation(name, **{**what, **changed.get(name, {})}) for name, what in plain.items()]


def test_nothing_speaks_against_it_when_all_others_are_well() -> None:
    for name in ("primary", "standby", "witness"):
        assert list(against_going_down(name, machines())) == []


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (machines(witness={"problem": "no route", "voter": None}), "witness does not answer: no route"),
        (machines(standby={"failed": ("nginx.service",)}), "standby has failed units: nginx.service"),
        (machines(witness={"voter": False}), "without primary etcd has no quorum: standby of 3 would be well"),
        (machines({"members": [FOLLOWER]}), "nobody leads the database cluster"),
        (machines({"members": [LEADER, FOLLOWER], "pause": True}), "the database cluster is paused"),
        (machines({"members": [LEADER, {**FOLLOWER, "state": "stopped"}]}), "standby does not follow (stopped)"),
    ],
)
def test_what_speaks_against_it(seen: list[Observation], why: str) -> None:
    assert any(why in reason for reason in against_going_down("primary", seen))


def test_its_own_trouble_does_not() -> None:
    own = machines({"members": [LEADER, {**FOLLOWER, "state": "stopped"}]}, standby={"problem": "off", "voter": None})
    assert list(against_going_down("standby", own)) == []


def test_a_machine_that_is_alone_may_go_down() -> None:
    assert list(against_going_down("one", [Observation("one")])) == []
    alone = [Observation("one", patroni={"members": [{**LEADER, "name": "one"}]}, voter=True)]
    assert list(against_going_down("one", alone)) == []
    assert not leads("one", alone)


def test_who_leads_hands_over_where_another_one_is() -> None:
    assert leads("primary", machines())
    assert not leads("standby", machines())


def test_sites_that_do_not_agree_are_not_believed() -> None:
    theirs = {"members": [{**FOLLOWER, "role": "leader", "state": "running"}, {**LEADER, "role": "replica"}]}
    seen = machines(standby={"patroni": theirs})
    assert "nobody leads the database cluster" in list(against_going_down("witness", seen))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (machines(), ""),
        (machines(standby={"problem": "does not answer"}), "does not answer"),
        (machines(standby={"failed": ("ssh.service",)}), "failed units: ssh.service"),
        (machines(standby={"voter": False}), "its etcd member sees no quorum"),
        (machines({"members": [LEADER, {**FOLLOWER, "state": "starting"}]}), "its database is starting"),
        (machines({"members": [LEADER]}), "its database is no member of the cluster"),
    ],
)
def test_when_it_is_back(seen: list[Observation], why: str) -> None:
    assert is_back("standby", seen) == why
