"""What systemd and apt say, as values: `systemctl show`, `apt-config dump`, armored keys."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

from tests.verify.probes.world import Output


def units(output: Output) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units: properties by unit. A unit that is not named there has every property ""."""
    records = [_properties(text) for text in output.text.split("\n\n")]
    return defaultdict(lambda: defaultdict(str), {record["Id"]: record for record in records if "Id" in record})


def next_of(timer: dict[str, str]) -> float:
    """When a timer elapses next (seconds since the epoch); infinitely late when it does not."""
    found = re.search(r"next_elapse=@([0-9]+)", timer["TimersCalendar"])
    return float(found[1]) if found else float("inf")


def command(service: dict[str, str]) -> str:
    """What a service runs; all of it when there is more than one command."""
    return "; ".join(re.findall(r"argv\[\]=(.*?) ;", service["ExecStart"]))


def apt_values(output: Output) -> tuple[dict[str, str], dict[str, list[str]]]:
    """`apt-config dump`: single values (the last one counts, as for apt) and lists, by key."""
    single: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for key, value in re.findall(r'^(\S+) "(.*)";$', output.text, re.MULTILINE):
        if key.endswith("::"):
            lists.setdefault(key[:-2], []).append(value)
        else:
            single[key] = value
    return single, lists


def parsed(output: Output, problem: str) -> Any:
    """JSON that a program printed. `problem` is the reason that is given when it is none."""
    try:
        return json.loads(output.text)
    except ValueError:
        raise AssertionError(problem) from None


def flat(key: str) -> str:
    """A key without its line ends, which everybody shows in their own way."""
    return re.sub(r"[\s.]+", "", key)


def _properties(text: str) -> defaultdict[str, str]:
    """One unit's; what stands there more than once (two commands, two times) is joined."""
    found: defaultdict[str, str] = defaultdict(str)
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found[key] = f"{found[key]} {value}".strip()
    return found
