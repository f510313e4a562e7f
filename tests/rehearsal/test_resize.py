"""A server of another type: an edited word stops nobody, one server at a time goes down, and none stays off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from bastide.console import Completed, run
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.stack import Rehearsal, wait_for
from tests.rehearsal.test_provider import servers

LAB = "database"


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster, and clients that write. Afterwards the servers are what the stack file says."""
    yield from lent(rehearsal)


@pytest.fixture(autouse=True)
def counted(rehearsal: Rehearsal) -> None:
    rehearsal.api("DELETE", "/_lab/downtime")


@contextmanager
def another_type(rehearsal: Rehearsal, *machines: str, name: str = "cx33") -> Iterator[None]:
    with ExitStack() as changed:
        for machine in machines:
            changed.enter_context(rehearsal.settings_changed(f"servers.{machine}.type", name))
        yield


def resize(rehearsal: Rehearsal, machine: str, *more: str, check: bool = True) -> Completed:
    return rehearsal.make("resize", f"machine={machine}", *more, check=check, timeout=600)


def most_off(rehearsal: Rehearsal) -> list[str]:
    """The servers that were off at the same time."""
    found: list[str] = rehearsal.api("GET", "/_lab/downtime")["most_off"]
    return found


def types(rehearsal: Rehearsal) -> dict[str, tuple[str, str]]:
    """What each server is at the provider, and whether it runs."""
    return {one["name"]: (one["server_type"]["name"], one["status"]) for one in servers(rehearsal)}


def test_edited_types_stop_nobody_and_the_plan_says_what_to_run(rehearsal: Rehearsal) -> None:
    before = types(rehearsal)
    with another_type(rehearsal, *SITES):
        done = rehearsal.make("infra")
        plan = run(
            ["python", "-m", "hosts", "plan", "--stack", rehearsal.stack],
            cwd=rehearsal.root,
            env=rehearsal.env,
            check=False,
            timeout=180,
        )
    assert f"make resize machine=primary stack={rehearsal.stack}" in done.stdout
    assert plan.returncode == 2
    assert f"`make resize machine=primary stack={rehearsal.stack}`" in plan.stdout.splitlines()[-1]
    assert "type: cx23 -> cx33" in plan.stdout
    assert most_off(rehearsal) == []
    assert types(rehearsal) == before


@pytest.mark.full("resize")
def test_the_leader_is_resized_and_nothing_is_lost(rehearsal: Rehearsal, writers: Writers) -> None:
    writers.switchover("primary")
    began = time.monotonic()
    with another_type(rehearsal, "primary"):
        with writers.writing("standby"):
            done = resize(rehearsal, "primary")
            writers.goes_on("standby", seconds=10)
            told = writers.told()
        assert types(rehearsal)["primary"] == ("cx33", "running")
        assert most_off(rehearsal) == ["primary"]
        assert writers.missing(told) == []
        assert "make switchover to=primary" in done.stdout
        preview = rehearsal.pulumi("preview", "--expect-no-changes", check=False)
        assert preview.ok, preview.stdout[-2000:]
        again = resize(rehearsal, "primary")
        assert "primary is cx33" in again.stdout
        assert writers.healthy()
    print(f"resized in {time.monotonic() - began:.1f} s; nobody wrote for {told.stopped('standby'):.2f} s")
    resize(rehearsal, "primary")  # back, to what the file says
    assert types(rehearsal)["primary"] == ("cx23", "running")


@pytest.mark.full("resize")
def test_a_change_that_the_provider_refuses_leaves_the_server_on(rehearsal: Rehearsal, writers: Writers) -> None:
    rehearsal.api("POST", "/_lab/faults", {"action": "change_server_type", "message": "no room", "count": 1})
    with another_type(rehearsal, "standby"):
        done = resize(rehearsal, "standby", check=False)
    assert not done.ok
    assert "no room" in done.stderr
    assert " next: " in done.stderr
    assert types(rehearsal)["standby"] == ("cx23", "running")
    writers.healed()


@pytest.mark.full("resize")
def test_a_resize_that_is_killed_is_completed_by_the_next(rehearsal: Rehearsal, writers: Writers) -> None:
    words = ["python", "-m", "hosts", "resize", "--stack", rehearsal.stack, "--machine", "standby"]
    with another_type(rehearsal, "standby"):
        rehearsal.killed(
            words,
            lambda process: wait_for(lambda: types(rehearsal)["standby"][1] == "off", "standby is off", seconds=120),
        )
        wait_for(lambda: types(rehearsal)["standby"][1] == "off", "what was asked for has ended")
        resize(rehearsal, "standby")
        assert types(rehearsal)["standby"] == ("cx33", "running")
    resize(rehearsal, "standby")
    assert most_off(rehearsal) == ["standby"]
    writers.healed()


@pytest.mark.full("resize")
def test_beside_a_machine_that_is_not_well_none_goes_down(rehearsal: Rehearsal, writers: Writers) -> None:
    rehearsal.exec("witness", "systemctl stop etcd")
    try:
        with another_type(rehearsal, "standby"):
            done = resize(rehearsal, "standby", check=False)
    finally:
        rehearsal.exec("witness", "systemctl start etcd")
    assert not done.ok
    assert "standby must not go down now" in done.stderr
    assert "etcd has no quorum" in done.stderr
    assert most_off(rehearsal) == []
    writers.healed()


@pytest.mark.full("resize")
def test_while_somebody_deploys_none_goes_down(rehearsal: Rehearsal) -> None:
    record: dict[str, Any] = {"who": "somebody@elsewhere", "since": int(time.time())}
    # proc_pid_stat(5): the time at which a process began is field 22, the twentieth after the name
    record["session"] = [1, int(rehearsal.exec("witness", "sed 's/.*) //' /proc/1/stat | cut -d' ' -f20").stdout)]
    rehearsal.exec("witness", "cat >/run/bastide-deploy.json", input=json.dumps(record))
    try:
        with another_type(rehearsal, "standby"):
            done = resize(rehearsal, "standby", check=False)
    finally:
        rehearsal.exec("witness", "rm /run/bastide-deploy.json")
    assert "somebody@elsewhere works on witness" in done.stderr
    assert most_off(rehearsal) == []
