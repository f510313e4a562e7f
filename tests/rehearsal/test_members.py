"""Machines that come to the database cluster and leave it, in a stack and a lab of their own, while somebody writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bastide.stackfile import dump, load
from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.conftest import fresh_stack
from tests.rehearsal.stack import Rehearsal

LAB = "members"
pytestmark = pytest.mark.full("members")
STACK = "rehearsal-members"
THIRD = {"role": "standby", "location": "hel1", "private_address": "10.20.0.14"}


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    """The stack after its first `make up`: two sites and a witness."""
    for found in fresh_stack(STACK, keep=request.config.getoption("--keep")):
        found.make("up", timeout=1200)
        yield found


def edit(stack: Rehearsal, *path: str, value: Any) -> None:
    """Set one setting in the stack file for good, or take it out (None)."""
    document = load(stack.file)
    here = document["config"]["bastide:settings"]
    for part in path[:-1]:
        here = here[part]
    if value is None:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    stack.file.write_text(dump(document))


@contextmanager
def somebody_writes(stack: Rehearsal, machine: str) -> Iterator[None]:
    """Rows are written from a machine during the block, and in the end none that was acknowledged is missing."""
    with Writers(stack).writing(machine):
        yield
        writers = Writers(stack)  # of who is there now
        writers.begun[machine] = 1
        writers.healed()
        writers.goes_on(machine, seconds=20)
    told = writers.told()
    assert told.of(machine)
    assert writers.missing(told) == []


def voters(stack: Rehearsal) -> list[str]:
    """Whom etcd counts."""
    members = stack.exec("primary", "timeout 10 bastide-etcdctl -w json member list").stdout
    return sorted(one.get("name", "") for one in json.loads(members)["members"])


def left_of_a_vote(stack: Rehearsal, machine: str) -> list[str]:
    """What a machine without a vote still has of one."""
    places = "/etc/etcd /var/lib/etcd/bastide /var/lib/bastide-etcd /usr/local/sbin/bastide-etcdctl"
    there = stack.exec(machine, f"ls -d {places} 2>/dev/null; pgrep -lx etcd", check=False).stdout.splitlines()
    enabled = stack.exec(machine, "systemctl is-enabled etcd.service bastide-etcd-keep.timer", check=False).stdout
    return [*there, *(line for line in enabled.splitlines() if line == "enabled")]


def test_a_replica_comes_by_one_make_up(stack: Rehearsal) -> None:
    """It follows, is proven with all others, and does not vote."""
    with somebody_writes(stack, "standby"):
        edit(stack, "servers", "third", value=THIRD)
        stack.make("up", timeout=1200)
        assert set(Writers(stack).members()) == {"primary", "standby", "third"}
    assert voters(stack) == ["primary", "standby", "witness"]
    assert left_of_a_vote(stack, "third") == []
    assert "3 voters in 3 places" in (stack.build / "security.html").read_text()
    assert stack.dry() == {}


def test_a_vote_moves_to_another_machine_and_back_by_a_deploy(stack: Rehearsal) -> None:
    """Who lost it keeps nothing of it, and goes on as a replica; what is claimed of the voters holds again.

    Data of the vote that it had, as on a volume that outlived its server, do not keep it out afterwards.
    """
    stack.exec("standby", "cp -a /var/lib/etcd/bastide /var/lib/etcd/kept")
    with somebody_writes(stack, "standby"):
        for chosen, other in (("third", "standby"), ("standby", "third")):
            edit(stack, "etcd", "voters", value=["primary", chosen, "witness"])
            stack.deploy()
            assert voters(stack) == sorted(["primary", chosen, "witness"])
            assert left_of_a_vote(stack, other) == []
            assert stack.dry() == {}
            stack.verify("-k", "etcd or postgres")
            if other == "standby":
                stack.exec("standby", "mv /var/lib/etcd/kept /var/lib/etcd/bastide")


def test_a_machine_without_a_vote_does_not_leave_unless_the_others_hear_of_it(stack: Rehearsal) -> None:
    """A deploy to that machine alone leaves its voter as it is, and says so; one to all completes it."""
    edit(stack, "etcd", "voters", value=["primary", "third", "witness"])
    stack.deploy()
    edit(stack, "etcd", "voters", value=[])
    done = stack.deploy("--limit", "third")
    assert "its member has no vote in the stack file and counts still" in done.stdout + done.stderr
    stack.deploy("--limit", "witness")
    assert voters(stack) == ["primary", "third", "witness"]
    stack.deploy()
    assert voters(stack) == ["primary", "standby", "witness"]


def test_a_replica_leaves(stack: Rehearsal) -> None:
    """Refused while it is protected; then its machine goes, and no other one knows it any more.

    It has a vote, and is dead already: etcd takes nobody in while a member does not answer.
    """
    with somebody_writes(stack, "standby"):
        edit(stack, "etcd", "voters", value=["primary", "third", "witness"])
        stack.deploy()
        stack.lab("crash", "third")
        document = load(stack.file)
        edit(stack, "etcd", "voters", value=[])
        edit(stack, "servers", "third", value=None)
        refused = stack.make("infra", check=False)
        assert not refused.ok
        assert "server third" in refused.stdout + refused.stderr
        stack.file.write_text(dump(document))
        edit(stack, "protection", value=False)
        stack.make("infra")
        stack.lab("crash", "third")
        edit(stack, "etcd", "voters", value=[])
        edit(stack, "servers", "third", value=None)
        stack.make("up", timeout=1200)
        assert voters(stack) == ["primary", "standby", "witness"]
        assert set(Writers(stack).members()) == {"primary", "standby"}
    edit(stack, "protection", value=True)
    stack.make("infra")
    assert stack.dry() == {}
    for machine in ("primary", "standby", "witness"):
        known = "grep -rlsF 10.21.0.14 /etc/hosts /etc/haproxy /etc/wireguard /etc/nftables.conf /etc/patroni"
        assert stack.exec(machine, known, check=False).stdout == ""
