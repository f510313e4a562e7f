"""What systemd says of its units, as values."""

from __future__ import annotations

import re
from collections import defaultdict

from tests.verify.probes.world import Output

# of one unit a paragraph; a time is "@seconds" or empty
_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,ExecStart,NextElapseUSecRealtime"
_PROPERTIES += ",Persistent,RandomizedDelayUSec,TimersCalendar,TimersMonotonic"
_BESIDE = ("ExecCondition", "ExecStartPre", "ExecStartPost", "ExecStopPost")
_PROPERTIES += "," + ",".join(_BESIDE)


def show(*units: str) -> str:
    """The command that prints what `units` reads."""
    return f"systemctl show --timestamp=unix -p {_PROPERTIES} -- {' '.join(units)}"


def units(output: Output) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units: properties by unit. A unit that is not named there has every property ""."""
    records = [_properties(text) for text in output.text.split("\n\n")]
    return defaultdict(lambda: defaultdict(str), {record["Id"]: record for record in records if "Id" in record})


def next_of(timer: dict[str, str]) -> float:
    """When a timer elapses next (seconds since the epoch); infinitely late when it does not."""
    found = re.search(r"next_elapse=@([0-9]+)", timer["TimersCalendar"])
    return float(found[1]) if found else float("inf")


def run_by(service: dict[str, str]) -> str:
    """What a service runs; all of it when there is more than one command."""
    return "; ".join(re.findall(r"argv\[\]=(.*?) ;", service["ExecStart"]))


def beside(service: dict[str, str]) -> list[str]:
    """What a service runs before and after, or asks whether it may run at all."""
    return [f"{key} {found}" for key in _BESIDE for found in re.findall(r"argv\[\]=(.*?) ;", service[key])]


def _properties(text: str) -> defaultdict[str, str]:
    """One unit's; what stands there more than once (two commands, two times) is joined."""
    found: defaultdict[str, str] = defaultdict(str)
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found[key] = f"{found[key]} {value}".strip()
    return found
