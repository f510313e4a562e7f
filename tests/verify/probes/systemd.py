"""What systemd says of its units, as values."""

from __future__ import annotations

import re
from collections import defaultdict

from tests.verify.probes.world import Output

# of one unit a paragraph; a time is "@seconds" or empty
_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,ExecStart,NextElapseUSecRealtime"
_PROPERTIES += ",Persistent,RandomizedDelayUSec,TimersCalendar,TimersMonotonic"
_PROPERTIES += ",FragmentPath,DropInPaths"
# systemd.unit(5): packages' units lie in the one, the platform's own in the other, and so do its drop-ins
_PACKAGES, _OURS = "/usr/lib/systemd/system", "/etc/systemd/system"
_DROP_IN = re.compile(rf"{_PACKAGES}/.*|{_OURS}/[^/]+\.d/bastide[^/]*\.conf")
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


def told_besides(unit: dict[str, str]) -> list[str]:
    """Files that tell a unit something else than its package and the platform do: conditions, an environment, other
    commands, another view of the file system."""
    home = _OURS if unit["Id"].startswith("bastide-") else _PACKAGES
    found = [path for path in unit["DropInPaths"].split() if not _DROP_IN.fullmatch(path)]
    if unit["FragmentPath"] and not unit["FragmentPath"].startswith(f"{home}/"):
        found.insert(0, unit["FragmentPath"])
    return [f"{unit['Id']} is told otherwise by {path}" for path in found]


def boots(unit: dict[str, str]) -> list[str]:
    """Why a unit would not run after a reboot, or does not run now."""
    state = f"{unit['LoadState']}, {unit['UnitFileState']}, {unit['ActiveState']}"
    return [] if state == "loaded, enabled, active" else [f"{unit['Id'] or 'a unit'} is {state}"]


def _properties(text: str) -> defaultdict[str, str]:
    """One unit's; what stands there more than once (two commands, two times) is joined."""
    found: defaultdict[str, str] = defaultdict(str)
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found[key] = f"{found[key]} {value}".strip()
    return found
