"""Who tells what, and when: no machine asks another one, each works it out from what all show. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from .findings import DAY, Finding

Told = dict[str, dict[str, Any]]
"""By "machine/key": its `state` (told, resolved), `at` when, and `since`, `what`, `event` of the finding; how many
`times` it was told as new since the `first` time, within the time for repetitions."""
SILENT = "silent"
"""The key of a machine that does not answer."""
MOST_TIMES = 3
"""What comes and goes is told so often within the time for repetitions, and then no more."""
_FORGOTTEN_SECONDS = 2 * DAY


class Due(NamedTuple):
    """One thing to be told. `state`: alert, again or resolved."""

    machine: str
    key: str
    state: str
    finding: Finding


def teller(order: Iterable[str], subject: str, able: Collection[str]) -> str:
    """The machine that tells of `subject`: the first in the order that can, and is another one; "" for none."""
    return next((name for name in order if name != subject and name in able), "")


def merge(known: Told, shown: Iterable[Told]) -> Told:
    """What was told by whomever: of each thing what happened last. So whoever takes over repeats nothing."""
    found = dict(known)
    for told in shown:
        for name, entry in told.items():
            if name not in found or found[name]["at"] < entry["at"]:
                found[name] = entry
    return found


def due(
    machine: str, findings: dict[str, Finding], told: Told, now: float, repeat: float, *, complete: bool
) -> list[Due]:
    """What is to be told of one machine. `complete`: whether `findings` are all that it has, so that what is not among
    them is over; of one that does not answer nobody knows. `repeat` is in seconds."""
    found = []
    for key, finding in findings.items():
        entry = told.get(f"{machine}/{key}")
        if entry is None:
            found.append(Due(machine, key, "alert", finding))
        elif entry["state"] != "told":
            if entry["times"] < MOST_TIMES or now - entry["first"] >= repeat:
                found.append(Due(machine, key, "alert", finding))
        elif now - entry["at"] >= repeat and (not finding["event"] or finding["last"] > entry["at"]):
            found.append(Due(machine, key, "again", finding))
    for name, entry in told.items():
        subject, _, key = name.partition("/")
        # what happened is never over; what does not come again is just not told again
        lasting = entry["state"] == "told" and not entry["event"]
        if subject == machine and lasting and key not in findings and (complete or key == SILENT):
            finding = {field: entry[field] for field in ("what", "since", "event")}
            found.append(Due(machine, key, "resolved", {**finding, "next": ""}))
    return found


def noted(told: Told, one: Due, now: float, repeat: float) -> None:
    """Remember that it was told. Always later than what is known of it, whatever the clocks of the others say."""
    name = f"{one.machine}/{one.key}"
    known = told.get(name, {"at": 0.0, "first": now, "times": 0})
    at, state = max(now, known["at"] + 1), "told" if one.state != "resolved" else "resolved"
    first, times = known["first"], known["times"]
    if one.state == "alert":
        first, times = (first, times + 1) if now - first < repeat else (now, 1)
    fields = {field: one.finding[field] for field in ("what", "since", "event")}
    told[name] = {"state": state, "at": at, "first": first, "times": times, **fields}


def forget(told: Told, now: float, repeat: float, machines: Collection[str]) -> Told:
    """Without what was over long ago, and without machines that are no more."""
    kept = max(_FORGOTTEN_SECONDS, repeat + DAY)
    return {
        name: one
        for name, one in told.items()
        if name.partition("/")[0] in machines
        and ((one["state"] == "told" and not one["event"]) or now - one["at"] < kept)
    }
