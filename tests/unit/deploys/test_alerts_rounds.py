"""Rounds of machines that read each other: who tells what by the sink, and when a way or a machine is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploys.alerts.program import watch
from deploys.alerts.program.peers import Peers
from lab.services import sink_server
from tests.unit.deploys.telling import FINDING, ORDER, Machine, came, rounds


def test_the_witness_tells_of_a_unit_once_and_that_it_is_over(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(world, monkeypatch, ORDER, 2)
    world["primary"].wrong = {"unit/x": {**FINDING, "since": watch.time.time()}}
    rounds(world, monkeypatch, ORDER, 4)
    assert came() == ["[prod] primary: the unit x has failed"]
    assert len(came("hook")) == 1
    body = sink_server.KEPT.show()["messages"][-1]
    assert "told by witness" in json.dumps(body)
    world["primary"].wrong = {}
    rounds(world, monkeypatch, ORDER, 4)
    assert came()[1:] == ["[prod] primary: resolved: the unit x has failed"]
    # one signal of life, by the first in the order
    assert len(came("beat")) == 1


def test_who_takes_over_repeats_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(world, monkeypatch, ORDER, 2)
    world["primary"].wrong = {"unit/x": {**FINDING, "since": watch.time.time()}}
    rounds(world, monkeypatch, ORDER, 2)
    world["pages"].pop("witness")
    later = watch.time.monotonic() + 60
    monkeypatch.setattr("deploys.alerts.program.peers.time.monotonic", lambda: later)
    world["primary"].wrong["unit/y"] = {**FINDING, "what": "y has failed", "since": watch.time.time()}
    rounds(world, monkeypatch, ["standby", "primary"], 3)
    assert came() == ["[prod] primary: the unit x has failed", "[prod] primary: y has failed"]


def test_another_machine_tells_of_a_silent_one_and_of_its_return(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(world, monkeypatch, ORDER, 2)
    page = world["pages"].pop("primary")
    clock = [watch.time.monotonic()]
    monkeypatch.setattr("deploys.alerts.program.peers.time.monotonic", lambda: clock[0])
    clock[0] += 170
    rounds(world, monkeypatch, ["witness", "standby"], 2)
    assert came() == []
    clock[0] += 20
    rounds(world, monkeypatch, ["witness", "standby"], 3)
    assert came() == ["[prod] primary: does not answer: it is off, cut off, or its alerts do not run"]
    world["pages"]["primary"] = {**page, "at": page["at"] + 1}
    rounds(world, monkeypatch, ["witness", "standby"], 2)
    assert came()[1:] == ["[prod] primary: resolved: does not answer: it is off, cut off, or its alerts do not run"]


def test_a_program_that_hangs_is_silent_though_its_page_is_there(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(world, monkeypatch, ORDER, 2)
    clock = [watch.time.monotonic()]
    monkeypatch.setattr("deploys.alerts.program.peers.time.monotonic", lambda: clock[0])
    for _ in range(4):
        clock[0] += 60
        rounds(world, monkeypatch, ["standby", "primary"])
    assert came() == ["[prod] witness: does not answer: it is off, cut off, or its alerts do not run"]


def test_while_one_way_is_none_the_other_is_enough(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sink_server.KEPT.break_({"mail": "refuse"})
    world["primary"].wrong = {"unit/x": FINDING}
    rounds(world, monkeypatch, ORDER, 3)
    assert (came(), len(came("hook"))) == ([], 1)
    assert world["witness"].watch.memory["channels"]["mail"]["ok"] is False


def test_what_no_way_took_is_tried_again(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(world, monkeypatch, ORDER)
    sink_server.KEPT.break_({"mail": "drop", "hook": "drop"})
    world["primary"].wrong = {"unit/x": {**FINDING, "since": watch.time.time()}}
    rounds(world, monkeypatch, ORDER, 2)
    assert came() == []
    sink_server.KEPT.break_({})
    rounds(world, monkeypatch, ORDER, 3)
    assert "[prod] primary: the unit x has failed" in came()


def test_many_at_once_are_one_message(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(world, monkeypatch, ORDER)
    now = watch.time.time()
    world["primary"].wrong = {f"unit/{n}": {**FINDING, "what": f"unit {n}", "since": now} for n in range(20)}
    rounds(world, monkeypatch, ORDER, 3)
    assert came() == ["[prod] primary: 20 messages"]


def test_alone_it_tells_itself(tmp_path: Path, sink: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Machine("primary", tmp_path, sink, {}, order=["primary"])
    alone.wrong = {"unit/x": FINDING}
    for _ in range(3):
        alone.round(monkeypatch)
    assert came() == ["[prod] primary: the unit x has failed"]


@pytest.fixture
def apart(tmp_path: Path, sink: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two machines without a mesh, which only ping each other; who is in `off` answers none."""
    off: set[str] = set()
    names = ["standby", "primary"]
    found: dict[str, Any] = {
        name: Machine(name, tmp_path, sink, {other: other for other in names if other != name}, order=names)
        for name in names
    }
    monkeypatch.setattr(Peers, "_ask", lambda self, address: None if address in off else {})
    return found | {"off": off}


def test_without_a_mesh_each_tells_of_itself(apart: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("standby", "primary"):
        apart[name].wrong = {"unit/x": {**FINDING, "since": watch.time.time()}}
    rounds(apart, monkeypatch, ["standby", "primary"], 3)
    assert came() == ["[prod] standby: the unit x has failed", "[prod] primary: the unit x has failed"]
    apart["primary"].wrong = {}
    rounds(apart, monkeypatch, ["standby", "primary"], 2)
    assert came()[2:] == ["[prod] primary: resolved: the unit x has failed"]
    assert len(came("beat")) == 1, "the first one's, which is what a service outside hears"


def test_without_a_mesh_another_machine_tells_of_one_that_answers_no_ping(
    apart: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds(apart, monkeypatch, ["standby", "primary"], 2)
    # the first in the order, which also called outside
    apart["off"].add("standby")
    clock = [watch.time.monotonic()]
    monkeypatch.setattr("deploys.alerts.program.peers.time.monotonic", lambda: clock[0])
    clock[0] += 190
    later = watch.time.time() + 400
    monkeypatch.setattr("deploys.alerts.program.watch.time.time", lambda: later)
    rounds(apart, monkeypatch, ["primary"], 2)
    says = "does not answer: it is off, cut off, or its alerts do not run"
    assert came() == [f"[prod] standby: {says}"]
    assert len(came("beat")) == 2, "and calls outside in its place"
    apart["off"].clear()
    rounds(apart, monkeypatch, ["primary"], 2)
    assert came()[1:] == [f"[prod] standby: resolved: {says}"]
