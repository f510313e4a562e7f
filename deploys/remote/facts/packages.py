"""Runs on the machine: Debian packages, from dpkg's own records."""

from __future__ import annotations

from deploys.remote.facts.common import entries, read


def packages(names: list[str]) -> dict[str, bool]:
    """Which of these packages are installed, or provided by one that is (`dnsutils` by bind9-dnsutils)."""
    states = recorded()
    provided = {} if all(states.get(name) == "installed" for name in names) else _provided(states)
    return {name: states.get(name) == "installed" or name in provided for name in names}


def by_name(names: list[str]) -> dict[str, bool]:
    """Which of these packages themselves are installed, whatever others provide (openssh-client is an rsh-client)."""
    states = recorded()
    return {name: states.get(name) == "installed" for name in names}


def half_way(_: None) -> list[str]:
    """Packages that an interrupted dpkg run left half-way."""
    whole = ("installed", "config-files", "not-installed")
    left = [name for name, state in recorded().items() if state not in whole]
    if any(path.name.isdigit() for path in entries("/var/lib/dpkg/updates")):
        left.append("dpkg's journal")
    return left


def recorded() -> dict[str, str]:
    """The state of each package (dpkg-query(1))."""
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


def _provided(states: dict[str, str]) -> dict[str, str]:
    """What installed packages stand for, with the package that does (Debian Policy, 7.5)."""
    found: dict[str, str] = {}
    for record in read("/var/lib/dpkg/status").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in record.splitlines() if ": " in line and line[:1] != " ")
        if states.get(name := fields.get("Package", "")) == "installed":
            found |= {word.split()[0]: name for word in fields.get("Provides", "").split(",") if word.strip()}
    return found
