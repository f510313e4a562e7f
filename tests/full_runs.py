"""Writes down which groups of `make test-full` were green as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from bastide.console import run
from tests.groups import ROOT, RUNS, Run, record


@dataclass
class _Seen:
    """What was seen of a group: how many tests it has, which of them passed, whether any did not, their seconds."""

    size: int
    passed: set[str] = field(default_factory=set)
    bad: bool = False
    seconds: float = 0.0


class FullRuns:
    """A plugin of the process that prints: it hears of all tests. A test says of itself which group it is in."""

    PROPERTY = "full"

    def __init__(self) -> None:
        self._groups: dict[str, _Seen] = {}
        self._commit = _commit()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name != self.PROPERTY:
                continue
            assert isinstance(value, list)
            seen = self._groups.setdefault(value[0], _Seen(value[1]))
            seen.seconds += report.duration
            seen.bad = seen.bad or not report.passed
            if report.when == "call" and report.passed:
                seen.passed.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        today = datetime.now(UTC).date().isoformat()
        whole = {
            group: Run(today, self._commit, round(seen.seconds))
            for group, seen in self._groups.items()
            if not seen.bad and len(seen.passed) == seen.size
        }
        if whole:
            record(whole)


def _commit() -> str:
    """The commit that is tested, with "+" when files differ from it."""
    head = run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=False)
    others = f":!{RUNS.relative_to(ROOT)}"
    changes = run(["git", "status", "--porcelain", "--", ".", others], cwd=ROOT, check=False)
    return f"{head.stdout.strip()}{'+' if changes.stdout.strip() else ''}" if head.ok else "?"
