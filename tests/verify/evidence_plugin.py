"""Turns the outcomes of the checks into rows of evidence. A pytest plugin, registered by conftest.py."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest

from bastide.checks import proof_digests
from bastide.console import run
from bastide.controls import CONTROLS
from bastide.errors import BastideError, EvidenceError
from bastide.evidence import Check, Evidence, Outcome, Row, Run, RunMachine, digest, load, make_row, merge, save, worst
from bastide.machines import Machine
from bastide.signature import sign
from tests.verify.probes.world import Observation, World, now

BROKEN = "the check itself broke: "
_REASON = "not provable here: "
_DETAIL_LIMIT = 2000  # all that is wrong is named; what is longer than this is no reason any more


def not_provable_here(reason: str) -> NoReturn:
    """End this check without a verdict: neither green nor red, and its control is not proven. `reason` says why."""
    pytest.skip(_REASON + reason)


@dataclass
class Noted:
    """What a check leaves behind besides its verdict."""

    observation: Observation | None = None
    seen: list[str] = field(default_factory=list)


NOTED = pytest.StashKey[Noted]()
_VERDICT = pytest.StashKey[tuple[Outcome, str]]()
_CHECK = pytest.StashKey[Check]()


class EvidencePlugin:
    """Collects the checks of one session and writes the evidence at its end."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self.started = now()
        self.proofs = proof_digests()
        self.signed = False
        self.collected: list[pytest.Item] = []
        self.evidence: Evidence | None = None
        self._ran: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember everything there was, before any -k, -m or --control takes from it.

        Of a check whose control does not speak of this stack pytest makes one without a machine: that is none.
        """
        items[:] = [item for item in items if isinstance(_parameter(item), Machine)]
        self.collected = list(items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge each phase of a check; the worst phase is the check's outcome."""
        report = yield
        outcome, detail = _verdict(report, call)
        before, why = item.stash.get(_VERDICT, ("proven", ""))
        item.stash[_VERDICT] = (outcome, detail) if worst((outcome, before)) != before else (before, why)
        if report.when == "teardown":
            item.stash[_CHECK] = self._check(item, *item.stash[_VERDICT])
            self._ran.append(item)
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what was seen, also when the run was broken off."""
        if session.config.option.collectonly or not self._ran:
            return
        groups, expected = _grouped(self._ran), _grouped(self.collected)
        now_at = commit(self.world.root)
        rows = [self._row(control, machine, items, now_at) for (control, machine), items in groups.items()]
        by_node = any("::" in argument for argument in session.config.args)
        partial = {key for key, items in groups.items() if by_node or len(items) < len(expected[key])}
        inventory = self.world.inventory
        wanted = {
            (control.id, machine)
            for control in CONTROLS
            for machine in control.machines(inventory, self.world.settings)
        }
        run_ = Run(
            stack=self.world.stack,
            environment=self.world.environment,
            commit=now_at,
            started=self.started,
            finished=now(),
            complete=not partial and wanted <= set(groups),
            tools=_tools(),
            machines=tuple(RunMachine(name=m.name, role=m.role, location=m.location, id=m.id) for m in inventory),
        )
        self.evidence = merge(_known(self.path), run_, rows, {(control, machine.name) for control, machine in partial})
        save(self.evidence, self.path)
        self.signed = sign(self.path, self.world.settings, self.world.root)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the evidence is and what is not proven."""
        if self.evidence is None:
            return
        counted = [sum(row.outcome == outcome for row in self.evidence.rows) for outcome in ("proven", "failed")]
        total = len(self.evidence.rows)
        terminalreporter.write_line(
            f"evidence: {self.path} ({total} rows: {counted[0]} proven, {counted[1]} failed,"
            f" {total - sum(counted)} not provable here{'' if self.signed else '; unsigned'})"
        )

    def _check(self, item: pytest.Item, outcome: Outcome, detail: str) -> Check:
        noted = item.stash.get(NOTED, Noted())
        function = getattr(item, "function", None)
        observation = noted.observation
        return Check(
            name=item.nodeid.rpartition("/")[2].partition("[")[0],
            sentence=(getattr(function, "__doc__", None) or item.name).strip().splitlines()[0],
            command=observation.command if observation else "",
            seen="; ".join(noted.seen),
            outcome=outcome,
            detail=detail,
            at=observation.at if observation else now(),
            seconds=observation.seconds if observation else 0,
        )

    def _row(self, control: str, machine: Machine, items: Sequence[pytest.Item], now_at: str) -> Row:
        return make_row(
            control=control,
            machine=machine.name,
            machine_id=machine.id,
            prober=any(item.get_closest_marker("active") for item in items),
            environment=self.world.environment,
            commit=now_at,
            settings=digest(self.world.settings),
            proof=self.proofs[control],
            checks=[item.stash[_CHECK] for item in items],
        )


def machine_of(item: pytest.Item) -> Machine:
    """The machine that a check is about (its parameter)."""
    machine = _parameter(item)
    assert isinstance(machine, Machine)
    return machine


def _parameter(item: pytest.Item) -> object:
    return item.callspec.params["machine"]  # type: ignore[attr-defined]  # pytest's Function has it, Item does not


def controls_of(item: pytest.Item) -> list[str]:
    """The ids of the controls that a check proves."""
    return [str(word) for mark in item.iter_markers("control") for word in mark.args]


def commit(root: Path) -> str:
    """The project's commit, with "+" when files differ from it; "" when there is none."""
    if shutil.which("git") is None:
        return ""
    head = run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, check=False)
    changes = run(["git", "status", "--porcelain"], cwd=root, check=False)
    return f"{head.stdout.strip()}{'+' if changes.stdout.strip() else ''}" if head.ok else ""


def _grouped(items: Sequence[pytest.Item]) -> dict[tuple[str, Machine], list[pytest.Item]]:
    groups: dict[tuple[str, Machine], list[pytest.Item]] = defaultdict(list)
    for item in items:
        for control in controls_of(item):
            groups[(control, machine_of(item))].append(item)
    return groups


def _verdict(report: pytest.TestReport, call: pytest.CallInfo[None]) -> tuple[Outcome, str]:
    """Only a plain pass is a proof: an expected failure is none, and an error in the check itself is a failure."""
    if report.passed and not hasattr(report, "wasxfail"):
        return "proven", ""
    value = call.excinfo.value if call.excinfo else None
    first = (str(value) or type(value).__name__).strip().splitlines()[0][:_DETAIL_LIMIT]
    if report.skipped:
        return "not_provable_here", first.removeprefix("Skipped: ").removeprefix(_REASON)
    # what pytest explains below an assertion may quote whole outputs: only the check's own sentence is kept
    known = isinstance(value, AssertionError | BastideError)
    return "failed", first if known else f"{BROKEN}{type(value).__name__}: {first}"


def _known(path: Path) -> Evidence | None:
    try:
        return load(path)
    except EvidenceError:
        return None


def _tools() -> dict[str, str]:
    ssh = run(["ssh", "-V"], check=False).stderr.strip().partition(",")[0]
    names = ("bastide", "pytest", "pytest-testinfra", "ssh-audit")
    return {**{name: version(name) for name in names}, "ssh": ssh}
