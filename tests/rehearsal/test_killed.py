"""`make up` is killed at random moments; the next one completes what was begun, and nothing is made twice.

A lab and stack of its own, since each round begins with nothing.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from bastide.console import run
from deploys.remote import COMMAND
from lab.client import Lab
from tests.groups import stack_of
from tests.rehearsal.acknowledged import MACHINES
from tests.rehearsal.conftest import ROOT, remove
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "killed"

# of a `make up` from nothing with everything cached, at least: what is later than its end kills nothing
LAST_SECOND = 60.0
ROUNDS = 20
# when Pulumi has begun to make machines, and no machine was made a cluster's
EARLY_SECOND = 8.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(stack_of(LAB), ROOT)
    remove(rehearsal)
    yield rehearsal
    remove(rehearsal)


def _moments() -> list[object]:
    """The moments, spread evenly over the run with some chance in each: the seed is in the name of the test."""
    chance = random.Random(4)
    step = LAST_SECOND / ROUNDS
    moments = [round(number * step + chance.uniform(0, step), 1) for number in range(ROUNDS)]
    chance.shuffle(moments)
    parts = ("killed-early", "killed-midway", "killed-late")
    return [
        pytest.param(
            moment,
            id=f"after {moment} s",
            marks=pytest.mark.full(parts[int(moment / LAST_SECOND * len(parts))]),
        )
        for moment in moments
    ]


@pytest.mark.parametrize("moment", _moments())
def test_a_killed_up_is_completed_by_the_next(stack: Rehearsal, moment: float) -> None:
    remove(stack)
    stack.killed(up(stack), after(moment))
    completed(stack)


@pytest.mark.full("killed-twice")
def test_two_kills_are_completed_by_the_next(stack: Rehearsal) -> None:
    """While machines are made, and then between two voters' first starts.

    One voter has begun, and alone it waits for a quorum for ever: the next deploy must not take it for a cluster.
    """

    def begun(first: subprocess.Popen[bytes]) -> None:
        wait_for(
            lambda: first.poll() is not None or on_primary(stack, "-e", "/etc/etcd/join.env"),
            "a voter's first start",
            seconds=240,
        )

    remove(stack)
    stack.killed(up(stack), after(EARLY_SECOND))
    stack.killed(up(stack), begun)
    # what runs on a machine goes on when the deploy is killed: to its end first, or it would begin a second voter yet
    for machine in MACHINES:
        wait_for(lambda one=machine: not running(stack, one), f"nothing of the deploy runs on {machine}", seconds=60)  # type: ignore[misc]
    # all three begin at once: put back two of them to where they were before, and the first to where it is alone
    back = "systemctl stop etcd; rm -rf /var/lib/etcd/bastide"
    for machine in ("standby", "witness"):
        stack.exec(machine, f"{back} /var/lib/etcd/forming /etc/etcd/join.env")
    stack.exec("primary", f"{back}; touch /var/lib/etcd/forming; systemctl start --no-block etcd")
    wait_for(lambda: on_primary(stack, "-d", "/var/lib/etcd/bastide/member"), "a voter alone")
    for machine in ("standby", "witness"):
        stack.exec(machine, "[ ! -e /var/lib/etcd/bastide ] && [ ! -e /etc/etcd/join.env ]")
    completed(stack)
    for machine in MACHINES:
        stack.exec(machine, "[ ! -e /var/lib/etcd/forming ]")


def up(stack: Rehearsal) -> list[str]:
    """`make up` as a user types it."""
    return ["make", "--no-print-directory", "up", f"stack={stack.stack}", "lab=1"]


def after(seconds: float) -> Callable[[subprocess.Popen[bytes]], None]:
    """A moment that many seconds from the start."""

    def passed(first: subprocess.Popen[bytes]) -> None:
        with suppress(subprocess.TimeoutExpired):
            first.wait(timeout=seconds)

    return passed


def running(stack: Rehearsal, machine: str) -> bool:
    """Whether a script of a deploy runs there (deploys/remote)."""
    return Lab(stack.stack).execute(machine, ["pgrep", "-fx", COMMAND], check=False).ok


def on_primary(stack: Rehearsal, *condition: str) -> bool:
    """test(1) on the primary; False, too, as long as there is no primary."""
    return Lab(stack.stack).execute("primary", ["test", *condition], check=False).ok


def completed(stack: Rehearsal) -> None:
    """One more `make up` completes it: all is proven, nothing is there twice, and a plan is empty."""
    began = time.monotonic()
    done = stack.make("up", timeout=300)
    print(f"completed in {time.monotonic() - began:.1f} s")
    assert "Traceback" not in done.stdout + done.stderr
    outcomes = {row["outcome"] for row in stack.evidence()["rows"]}
    assert "failed" not in outcomes
    made = {what: [item["name"] for item in stack.api("GET", f"/v1/{what}")[what]] for what in _COUNTED}
    assert {what: len(names) for what, names in made.items()} == _COUNTED, made
    stack.pulumi("preview", "--expect-no-changes")
    assert stack.dry() == {}
    leftovers = run(["git", "status", "--porcelain", "stacks", "build"], cwd=ROOT).stdout
    assert stack.stack not in leftovers


_COUNTED = {"servers": 3, "networks": 1, "firewalls": 1, "primary_ips": 6, "ssh_keys": 1}
