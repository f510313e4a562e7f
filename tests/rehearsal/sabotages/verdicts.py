"""Whether sabotages are caught. A round of them is done and judged when the first of it is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bastide.evidence import Row, load
from tests.rehearsal.sabotages.applied import applied
from tests.rehearsal.sabotages.model import Sabotage
from tests.rehearsal.sabotages.rounds import Round, rounds
from tests.rehearsal.stack import Rehearsal
from tests.verify.evidence_plugin import BROKEN


@dataclass(frozen=True)
class Verdict:
    """Whether a sabotage's check turned red for its reason, what it said, and how long that took.

    `seconds` is a sabotage's part of its round's. `again`: it was tried alone, since its round had not named it.
    """

    caught: bool
    outcome: str
    detail: str
    seconds: float
    again: bool = False


class Verdicts:
    """Verdicts of the sabotages that this run asks for: what is asked for alone is done alone."""

    def __init__(self, rehearsal: Rehearsal, sabotages: Iterable[Sabotage]) -> None:
        self._rehearsal = rehearsal
        self._rounds = rounds(sabotages)
        self._numbers = {one.name: number for number, together in enumerate(self._rounds) for one in together}
        self._found: dict[int, dict[str, Verdict]] = {}

    def of(self, sabotage: Sabotage) -> Verdict:
        """The verdict. A sabotage that its round did not name is tried again alone, and only that counts.

        Raises `AssertionError` when something was not undone.
        """
        number = self._numbers[sabotage.name]
        together = self._rounds[number]
        if number not in self._found:
            self._found[number] = {}  # if the round falls over, the others of it are tried alone
            self._found[number] = self._judged(together)
        first = self._found[number].get(sabotage.name)
        if first and (first.caught or len(together) == 1):
            return first
        last = self._judged((sabotage.on(sabotage.machine),))[sabotage.name]
        return replace(last, seconds=round(last.seconds + (first.seconds if first else 0), 1), again=True)

    def _judged(self, together: Round) -> dict[str, Verdict]:
        """Do a round, run the checks of its controls once, judge each by its own row, undo all. Verdicts by name."""
        path = self._rehearsal.build / "sabotage-evidence.json"
        path.unlink(missing_ok=True)
        words = [word for one in together for word in ("--control", one.control, "--machine", one.machine)]
        began = time.monotonic()
        with applied(self._rehearsal, together) as failed:
            keys = any(one.bucket for one in together)
            self._rehearsal.verify_warm(*words, "--evidence", str(path), keys=keys)
            evidence = load(path)
        seconds = round((time.monotonic() - began) / len(together), 1)
        rows = {one.name: evidence.row(one.control, one.machine) for one in together}
        return {one.name: _verdict(one, rows[one.name], failed.get(one.name), seconds) for one in together}


def _verdict(sabotage: Sabotage, row: Row | None, failed: str | None, seconds: float) -> Verdict:
    if failed is not None:
        return Verdict(False, "not done", f"its script failed: {failed}", seconds)
    if row is None:
        return Verdict(False, "no row", "no evidence was written", seconds)
    # red for another reason (a check that fell over, a machine that did not answer) is not caught
    caught = row.outcome == "failed" and BROKEN not in row.detail and sabotage.says in row.detail
    return Verdict(caught, row.outcome, row.detail, seconds)
