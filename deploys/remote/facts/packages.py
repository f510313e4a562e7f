"""Runs on the machine: Debian packages, from dpkg's own records."""

from __future__ import annotations

from deploys.remote.facts.common import entries, read


def packages(names: list[str]) -> dict[str, bool]:
    """Which of these packages are installed."""
    states = _states()
    return {name: states.get(name) == "installed" for name in names}


def half_way(_: None) -> list[str]:
    """Packages that an interrupted dpkg run left half-way."""
    whole = ("installed", "config-files", "not-installed")
    left = [name for name, state in _states().items() if state not in whole]
    if any(path.name.isdigit() for path in entries("/var/lib/dpkg/updates")):
        left.append("dpkg's journal")
    return left


def _states() -> dict[str, str]:
    states = {}
    for record in read("/var/lib/dpkg/status").split("\n\n"):
        name = status = ""
        for line in record.split("\n", 3):
            if line.startswith("Package: "):
                name = line[9:]
            elif line.startswith("Status: "):
                status = line[8:]
        if name:
            states[name] = status.rpartition(" ")[2]
    return states
