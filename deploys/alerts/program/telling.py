"""Who tells what, and when: no machine asks another one, each works it out from what all show. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from .findings import DAY, Finding

Told = dict[str, dict[str, Any]]
"""By "machine/key": its `state` (told, resolved, over), `at` when, and `since`, `what`, `event` of the finding."""
SILENT = "silent"
"""The key of a machine that does not answer."""
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
        if entry is None or entry["state"] != "told":
            # what happened once and was told is not told anew because it is still remembered there
            if not (entry and finding["event"] and entry["since"] == finding["since"]):
                found.append(Due(machine, key, "alert", finding))
        elif now - entry["at"] >= repeat:
            found.append(Due(machine, key, "again", finding))
    for name, entry in told.items():
        subject, _, key = name.partition("/")
        if subject == machine and entry["state"] == "told" and key not in findings and (complete or key == SILENT):
            finding = {field: entry[field] for field in ("what", "since", "event")}
            found.append(Due(machine, key, "resolved", {**finding, "next": ""}))
    return found


def noted(told: Told, one: Due, now: float) -> None:
    """Remember that it was told. Always later than what is known of it, whatever the clocks of the others say."""
    name = f"{one.machine}/{one.key}"
    at = max(now, told[name]["at"] + 1 if name in told else 0.0)
    state = "told" if one.state != "resolved" else "resolved"
    told[name] = {"state": state, "at": at, **{field: one.finding[field] for field in ("what", "since", "event")}}


def forget(told: Told, now: float) -> Told:
    """Without what was over long ago."""
    return {name: one for name, one in told.items() if one["state"] == "told" or now - one["at"] < _FORGOTTEN_SECONDS}
