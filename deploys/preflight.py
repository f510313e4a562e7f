"""Is every machine fit for a deploy? Asked in the prepare phase of all machines, before anything changes on any."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent  # type: ignore[import-untyped]
from pyinfra.api.host import Host
from pyinfra.api.state import State

from bastide.errors import PreflightError
from bastide.layout.firewall import RULES
from bastide.layout.model import Listener
from bastide.layout.postgres import DATA
from bastide.layout.users import CHECKS_COMMENT
from bastide.open_ports import listeners, taken_whole
from bastide.settings import Settings
from bastide.settings.base import INSTEAD
from deploys import kernel
from deploys.facts.accounts import ACCOUNTS
from deploys.facts.ask import ask_first
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.machine import MACHINE, MachineState
from deploys.facts.packages import HALF_WAY
from deploys.facts.patroni import PATRONI, cluster_by
from deploys.here import Here
from deploys.postgres import data_guard

MIN_FREE_MB = 512
MIN_FREE_INODES = 10_000
MAX_CLOCK_SECONDS = 10.0  # certificates and tokens tolerate less than a minute; this leaves room
LOCK_SECONDS = 60


@dataclass(frozen=True)
class Fitness:
    """What preflight found out about a machine that deploys branch on."""

    container: str
    cloud_init: bool


@dataclass(frozen=True)
class _Seen:
    """A machine's facts, and by how many seconds its clock is off (and how sure that is)."""

    facts: Facts
    clock_offset: float
    clock_margin: float


_seen: dict[State, dict[Host, _Seen]] = {}


def preflight(host: Host, here: Here, requests: Callable[[Host], FactRequest]) -> Fitness:
    """Raise `PreflightError` with every problem of every machine at once; return what this machine is like.

    The first host to get here asks for all, side by side: a problem anywhere must be known before any host has
    anything planned. `requests` gives what the capabilities will ask of a host: it is asked in the same round trip.
    """
    if host.state not in _seen:
        _seen[host.state] = {}
        hosts = host.state.inventory.get_active_hosts()
        # greenlets of our own: the pool of the run is full of hosts that wait for this one
        asked = {other: gevent.spawn(_ask, other, here.settings, requests(other)) for other in hosts}
        gevent.joinall(asked.values())
        _seen[host.state] |= {other: task.get() for other, task in asked.items()}
        found = [p for other, seen in _seen[host.state].items() for p in problems(other.name, seen, here.settings)]
        found += found or data_guard.problems(all_facts(host), DATA, here.settings.etcd_members, here.adopt)
        if found:
            lines = "\n".join(f"  {line}" for line in found)
            raise PreflightError(
                f"not fit for a deploy; nothing has been changed:\n{lines}", "mend this and run the same command again"
            )
    while host not in _seen[host.state]:
        gevent.sleep(0.02)  # the first host is still asking for all
    seen = _seen[host.state][host]
    machine = seen.facts[MACHINE]
    assert machine is not None, "that is a problem"
    for note in notes(seen):
        host.log(f"note: {note}")
    return Fitness(machine["container"], machine["cloud_init"])


def all_facts(host: Host) -> dict[str, Facts]:
    """What every machine of this run has said, by name: for what can only be decided about all of them together."""
    return {other.name: seen.facts for other, seen in _seen[host.state].items()}


def problems(name: str, seen: _Seen, settings: Settings) -> list[str]:
    """What forbids a deploy on this machine: each a line with what is wrong and the next step."""
    machine = seen.facts[MACHINE]
    if machine is None or not machine["root"]:
        user = settings.users.automation.name
        found = [(f"sudo does not make {user} root without a password", "log in at the console, mend /etc/sudoers.d")]
    elif (machine["system"], machine["version"]) != ("debian", "13"):
        runs = f"{machine['system']} {machine['version']}"
        found = [
            (f"runs {runs} instead of debian 13", "make it anew with image debian-13, or have its owner install that")
        ]
    else:
        needed = listeners(settings, name)
        found = [
            *_machine_problems(seen, machine),
            *_in_the_way(machine, needed),
            *_settings_problems(machine, settings),
            *_account_problems(seen, settings),
            *kernel.problems(seen.facts, settings),
        ]
    return [f"{name}: {what}; {next_step}" for what, next_step in found]


def _machine_problems(seen: _Seen, machine: MachineState) -> Iterator[tuple[str, str]]:
    for path, disk in machine["disks"].items():
        if disk["free_mb"] < MIN_FREE_MB:
            yield (
                f"{path} has {disk['free_mb']} MB free, at least {MIN_FREE_MB} are needed",
                f"look with `du -xh {path} | sort -h | tail`",
            )
        elif disk["free_inodes"] is not None and disk["free_inodes"] < MIN_FREE_INODES:
            yield (
                f"{path} has {disk['free_inodes']} free inodes, at least {MIN_FREE_INODES} are needed",
                f"look with `du -x --inodes {path} | sort -h | tail`",
            )
    if abs(seen.clock_offset) > MAX_CLOCK_SECONDS + seen.clock_margin:
        yield f"its clock is {seen.clock_offset:+.0f} s off from this machine's", "see `timedatectl` on both"
    if machine["package_lock"]:
        yield (
            f"{machine['package_lock']} has held the package lock for {LOCK_SECONDS} s",
            "wait until it is done",
        )


def _in_the_way(machine: MachineState, needed: tuple[Listener, ...]) -> Iterator[tuple[str, str]]:
    """What does already what the platform does: nothing of somebody else's is stopped or written over."""
    told = set()
    for one in needed:
        for holder in machine["holders"].get(f"{one.protocol}/{one.port}", ()):
            if holder["unit"] not in one.units:
                told.add(holder["unit"])
                who = " of ".join(dict.fromkeys((holder["program"], holder["unit"])))
                yield (
                    f"port {one.port} ({one.protocol}) is held by {who}, {one.what} needs it",
                    f"stop that, or {one.move or 'move it to another port'}",
                )
    for name in machine["instead"]:
        yield f"{name} is installed, but {INSTEAD[name]}", f"`apt-get purge {name}` there"
    for unit, path in machine["strange"].items():
        if unit not in told:
            yield (
                f"{unit} runs with settings of somebody else ({path}), and the platform would write over them",
                f"move what it does elsewhere, then `systemctl disable --now {unit}` there",
            )
    if machine["other_rules"]:
        yield (
            "nftables.service loads rules of somebody else (/etc/nftables.conf) at boot",
            "put what they open into settings.firewall.public, then `systemctl disable --now nftables` there",
        )


def _settings_problems(machine: MachineState, settings: Settings) -> Iterator[tuple[str, str]]:
    if not machine["zone"]:
        yield f"knows no time zone {settings.base.timezone}", "`timedatectl list-timezones` has them all"
    if not machine["locale"]:
        yield f"knows no locale {settings.base.locale}", "/usr/share/i18n/SUPPORTED has them all"
    for account in machine["system_accounts"]:
        yield f"{account} is an account of the system, not a person's", "choose another name in settings.users"


def _account_problems(seen: _Seen, settings: Settings) -> Iterator[tuple[str, str]]:
    checks = settings.users.verification
    told = seen.facts.get(ACCOUNTS)
    account = told["accounts"].get(checks.name) if checks and told else None
    if checks and account and account["comment"] != CHECKS_COMMENT:
        yield (
            f"there is an account {checks.name} already, and it is not the checks'",
            "choose another name in settings.users.verification, or remove the account there",
        )


def notes(seen: _Seen) -> Iterator[str]:
    """What the user should know, and what forbids nothing."""
    machine = seen.facts[MACHINE]
    if machine and machine["reboot"]:
        yield "a reboot is pending (/run/reboot-required)"
    if machine and machine["bridges"]:
        yield (
            f"what hangs on {', '.join(machine['bridges'])} has no way out: the firewall forwards nothing;"
            " next: docs/how-to/existing-server.md, Containers"
        )
    if (patroni := seen.facts.get(PATRONI)) and cluster_by(patroni).paused:
        yield "the cluster is paused: nobody takes over when its leader fails; next: `make resume`"
    if broken := seen.facts[HALF_WAY]:
        yield f"a dpkg run was interrupted ({', '.join(broken[:5])}); it is completed first"


def _ask(host: Host, settings: Settings, usual: FactRequest) -> _Seen:
    began = time.time()
    checks = settings.users.verification
    names = [settings.users.automation.name, *settings.users.people, *settings.users.removed]
    names += [checks.name] if checks else []
    fitness = MACHINE.request(
        {
            "ports": [(one.protocol, one.port) for one in listeners(settings, host.name)],
            "instead": sorted(INSTEAD),
            "whole": taken_whole(),
            "own_rules": RULES,
            "timezone": settings.base.timezone,
            "locale": settings.base.locale,
            "people": names,
            "lock_seconds": LOCK_SECONDS,
        }
    )
    facts = ask_first(host, merged(fitness, HALF_WAY.request(None)), usual)
    ended = time.time()
    margin = (ended - began) / 2
    machine = facts[MACHINE]
    offset = machine["clock"] - (began + margin) if machine else 0.0
    return _Seen(facts, offset, margin)
