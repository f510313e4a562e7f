"""The tests' own order: which share a lab, who takes which, who waits for whom, and what was run when."""

from __future__ import annotations

import fcntl
import multiprocessing
import re
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from tests import groups
from tests.full_runs import FullRuns
from tests.groups import FULL, LABS, ROOT, Run, lab_of, stack_of
from tests.scheduling import LabsFirst
from tests.turns import Turns

MODULES = sorted([*(ROOT / "tests" / "rehearsal").glob("test_*.py"), *(ROOT / "tests" / "lab").glob("test_*.py")])


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(groups, "RUNS", tmp_path / "runs.json")
    return tmp_path / "runs.json"


def test_every_lab_and_every_group_has_tests() -> None:
    assert {lab_of(path) for path in MODULES} == set(LABS)
    named = {name for path in MODULES for name in re.findall(r'mark\.full\("(.+?)"\)', path.read_text())}
    by_moment = {"killed-early", "killed-midway", "killed-late"}  # test_killed.py
    assert set(FULL) - named == by_moment


def test_what_was_run_is_of_groups_that_are() -> None:
    assert set(groups.json.loads((ROOT / "tests" / "full-runs.json").read_text())) <= set(FULL)


def test_the_names_of_stacks_are_ignored_by_git() -> None:
    assert all(stack_of(lab).startswith("rehearsal") for lab in LABS)
    assert stack_of("flow") == "rehearsal", "other stacks' pages print its figures"


def test_a_group_that_nobody_runs_is_named() -> None:
    groups.record({"ports": Run("2026-01-01", "abc", 100)})
    groups.record({"clocks": Run("2026-02-01", "abd", 100), "gone": Run("2026-02-01", "abd", 1)})
    assert set(groups.runs()) == {"ports", "clocks"}
    said = groups.stale(date(2026, 2, 10))
    assert "ports (40 days ago)" in said
    assert "outages (never)" in said
    assert not any(line.startswith("clocks") for line in said)


def report(name: str, *, passed: bool = True, size: int = 2, when: str = "call") -> Any:
    properties = [(FullRuns.PROPERTY, ["ports", size])]
    return SimpleNamespace(nodeid=name, passed=passed, when=when, duration=1.2, user_properties=properties)


@pytest.mark.parametrize(
    ("reports", "green"),
    [
        ([report("a"), report("b")], True),
        ([report("a")], False),
        ([report("a"), report("b", passed=False)], False),
        ([report("a"), report("b"), report("b", passed=False, when="teardown")], False),
        ([report("a"), report("b", when="setup")], False),
    ],
    ids=["whole", "a part", "red", "red in the end", "not run"],
)
def test_only_a_whole_green_run_counts(reports: list[Any], green: bool, file: Path) -> None:
    runs = FullRuns()
    for one in reports:
        runs.pytest_runtest_logreport(one)
    runs.pytest_sessionfinish()
    assert file.exists() == green
    assert not green or groups.runs()["ports"].seconds == 2


def test_labs_go_to_workers_first_and_others_between(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    node = MagicMock()
    config: Any = SimpleNamespace(
        getvalue=lambda _: ["popen"], option=SimpleNamespace(loadscopereorder=True, tx=["popen"])
    )
    scheduler = LabsFirst(config, None)
    scheduler.add_node(node)
    names = ["tests/unit/a.py::t", "tests/unit/b.py::t", "tests/unit/c.py::t"]
    monkeypatch.setattr(
        scheduler, "_labs", {name.partition("::")[0]: "" for name in names} | {"x": "killed", "y": "flow"}
    )
    names += ["x::t", "y::t"]
    scheduler.registered_collections[node] = names
    for name in names:
        scheduler.workqueue.setdefault(scheduler._split_scope(name), {})[name] = False
    while scheduler.workqueue:
        scheduler._assign_work_unit(node)
        given.append(list(scheduler.assigned_work[node])[-1])
    assert given == ["flow", "tests/unit/a.py", "killed", "tests/unit/b.py", "tests/unit/c.py"]


def _turn(folder: Path, alone: bool, log: Path, seconds: float) -> None:
    turns = Turns(folder)
    turns.begin(alone=alone)
    began = time.monotonic()
    time.sleep(seconds)
    with log.open("a") as file:
        file.write(f"{int(alone)} {began} {time.monotonic()}\n")
    turns.end(next_alone=False)


def test_who_is_alone_waits_and_is_waited_for(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "turns"
    first = Turns(folder)
    first.begin(alone=False)
    fork = multiprocessing.get_context("fork")
    alone, *later = [fork.Process(target=_turn, args=(folder, kind, log, 0.1)) for kind in (True, False, False)]
    alone.start()
    deadline = time.monotonic() + 20
    while not _at_the_gate(folder):
        assert time.monotonic() < deadline, "who wants to be alone does not ask"
        time.sleep(0.01)
    for process in later:
        process.start()
    over = time.monotonic()
    first.end(next_alone=False)
    for process in (alone, *later):
        process.join(20)
    turns = sorted([float(word) for word in line.split()] for line in log.read_text().splitlines())
    *others, (_, begun, ended) = turns
    assert len(others) == 2
    assert begun >= over, "it waited for who was there before"
    assert all(begin >= ended for _, begin, _ in others), "those who came later waited"


def _at_the_gate(folder: Path) -> bool:
    with (folder / "gate").open("r+b") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
