"""What all tests share: the options, which tests run, in which order and process, and who needs the machine alone.

The checks of tests/verify are no part of this: they are run by users, and by tests that may have the machine alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bastide.errors import BastideError
from lab import registry
from lab.client import Lab
from tests import groups
from tests.full_runs import FullRuns
from tests.turns import Turns

TESTS = Path(__file__).parent
# what takes longest without a lab; within a lab what makes it, then the most telling
FIRST = ("test_lint", "test_provider", "test_flow", "test_sabotage", "test_postgres")
# of memory: what a lab of three machines, its commands and a worker take at the most
WORKER_MB = 3000
# A lab keeps a third of a core busy by itself, and making one costs 200 CPU seconds: three were slower than two
MOST_WORKERS = 2

_TURNS = pytest.StashKey[Turns]()
_INTERRUPTED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run what is rare and long too")
    parser.addoption("--keep", action="store_true", help="leave the rehearsal's machines up for a look at the end")
    parser.addoption("--only", default="", metavar="WORDS", help="tests whose name holds one of these (a comma between "
                     "them), or with --full groups of `make test-groups`")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    words = _only(config)
    if words and not _full_groups(config):
        if config.getoption("--full") and set(words) & set(groups.FULL):
            raise pytest.UsageError(f"--only: these are not all groups: {', '.join(words)}")
        config.option.keyword = " or ".join(words)
    if config.getoption("--full") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FullRuns(), "bastide-full-runs")


def pytest_report_header(config: pytest.Config) -> list[str]:
    if any("verify" in word for word in config.args):
        return []
    stale = groups.stale(datetime.now(UTC).date())
    return [f"make test-full: not run for long: {', '.join(stale)}"] if stale else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is asked for, in order: seconds first, then lab by lab."""
    if any(_room(item) == "verify" for item in items):
        return
    chosen = _full_groups(config)
    counts: dict[str, int] = {}
    for item in items:
        if group := _full(item):
            counts[group] = counts.get(group, 0) + 1
    for item in items:
        if group := _full(item):
            item.user_properties.append((FullRuns.PROPERTY, [group, counts[group]]))
    kept = [item for item in items if (_full(item) in chosen if chosen else not _full(item) or config.option.full)]
    dropped = set(items) - set(kept)
    if dropped:
        config.hook.pytest_deselected(items=list(dropped))
    items[:] = sorted(kept, key=_place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """A test waits for its turn."""
    if _room(item) == "verify":
        return (yield)
    stash = item.config.stash
    if _TURNS not in stash:
        stash[_TURNS] = Turns(groups.ROOT / "build" / "turns")
    turns = stash[_TURNS]
    turns.begin(alone=_alone(item))
    try:
        return (yield)
    finally:
        turns.end(next_alone=nextitem is not None and _alone(nextitem))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.INTERRUPTED and session.config.getoption("numprocesses", None):
        session.config.stash[_INTERRUPTED] = True


def pytest_unconfigure(config: pytest.Config) -> None:
    """Workers that were interrupted have ten seconds, and may be ended in the midst of taking their lab away."""
    if config.stash.get(_INTERRUPTED, False):
        for lab in groups.LABS:
            if registry.find(groups.stack_of(lab)):
                with contextlib.suppress(BastideError):
                    Lab(groups.stack_of(lab)).down()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: as many as there are cores; where labs are made as many as there is memory for, at most two.

    A part that is asked for by name runs in this process, and says what it does as it goes.
    """
    if config.option.keyword or config.option.only or any("::" in word for word in config.args):
        return 0
    cores = len(os.sched_getaffinity(0))
    if all(word.startswith(("tests/unit", "tests/cloud")) for word in config.args):
        return cores
    return max(1, min(MOST_WORKERS, _free_mb() // WORKER_MB))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Labs first, see there."""
    from tests.scheduling import LabsFirst

    return LabsFirst(config, log) if config.getvalue("dist") == "loadscope" else None


def _only(config: pytest.Config) -> list[str]:
    return [word for word in config.getoption("--only").split(",") if word]


def _full_groups(config: pytest.Config) -> set[str]:
    """The groups that are asked for by name."""
    words = set(_only(config))
    return words if config.getoption("--full") and words <= set(groups.FULL) else set()


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""


def _lab(item: pytest.Item) -> str:
    """The lab that the test needs; "" when it needs none."""
    if _room(item) in ("unit", "cloud"):
        return ""
    name = str(getattr(item.module, "LAB", "")) if isinstance(item, pytest.Function) else ""
    if name not in groups.LABS:
        raise pytest.UsageError(f"{item.path}: which lab do its tests need? next: LAB = NAME, one of LABS in "
                                f"tests/groups.py")  # fmt: skip
    return name


def _full(item: pytest.Item) -> str:
    """The group of `make test-full` that the test is in; "" for what `make test` runs."""
    mark = item.get_closest_marker("full")
    if mark is None:
        return ""
    if mark.args[0] not in groups.FULL:
        raise pytest.UsageError(f"{item.nodeid}: {mark.args[0]} is none of FULL in tests/groups.py")
    return str(mark.args[0])


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def _place(item: pytest.Item) -> tuple[int, int]:
    lab = _lab(item)
    rank = list(groups.LABS).index(lab) + 2 if lab else int(_room(item) == "cloud")
    return rank, FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST)


def _free_mb() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) // 1024
