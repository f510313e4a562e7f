"""Upgrades that nobody has to ask for, and reboots one machine at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pyinfra.api.deploy import deploy

from bastide.layout.updates import (
    ALERT_TIMER,
    CHECKS,
    CONFIG,
    LISTS_TIMER,
    PROGRAM,
    REBOOT_TIMER,
    ROLLED,
    SOURCES,
    TIMERS,
    UPGRADE_TIMER,
)
from bastide.settings import Source, Updates
from bastide.windows import Windows, windows
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import FOLDERS
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.operations.files import File, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.units import unit
from deploys.render import render

PACKAGES = ("iputils-ping", "nftables", "python3-apt", "unattended-upgrades")
# Seconds for which every peer must answer before a machine goes down: longer than a boot takes to fail
OBSERVE_SECONDS = 30
# what a plain upgrade of Debian 13 calls itself (apt-get indextargets: Origin, Codename, Label)
_SECURITY = (
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "origin=Debian,codename=${distro_codename},label=Debian-Security",
)
_STABLE = (
    "origin=Debian,codename=${distro_codename},label=Debian",
    "origin=Debian,codename=${distro_codename}-updates,label=Debian",
)
# A changed time must not count as one that was missed (systemd.timer(5), Persistent=): a deploy starts no upgrade.
# What is masked cannot be started. The first look is now, so that since when something waits is known from here on.
_SETTLE = f"""\
for timer in {" ".join(TIMERS)}; do
    stamp=/var/lib/systemd/timers/stamp-$timer
    [ ! -e $stamp ] || touch $stamp
done
systemctl daemon-reload && systemctl -q unmask {" ".join(TIMERS)} && systemctl restart {" ".join(TIMERS)} || exit 1
systemctl start {ALERT_TIMER.replace(".timer", ".service")}
"""


@dataclass(frozen=True)
class Wanted:
    """The settings, and what one machine must know of all: its own times, and its peers' addresses by name."""

    updates: Updates
    times: Windows
    peers: dict[str, str]
    databases: bool = False
    """Whether services of a database cluster run on its machines."""


@deploy("updates")
def updates(wanted: Wanted) -> None:
    """Debian's unattended-upgrades on timers of our own, and a reboot that asks the peers first.

    Archives come before packages, so that their lists are fetched together with those of what is missing.
    """
    facts = ask(this_host(), FOLDERS.request([SOURCES]))
    files(
        name="package archives",
        name_="archives",
        wanted=(*source_files(wanted.updates), *orphans(wanted.updates, facts)),
    )
    packages(name="packages", names=PACKAGES)
    files(name="what is upgraded", name_="upgrades", wanted=(apt_file(wanted.updates),))
    files(name="when, and who is asked", name_="windows", wanted=window_files(wanted), settle=_SETTLE)
    # one call a line: pyinfra knows an operation by the line it was called from
    unit(name="lists of packages are fetched", name_=LISTS_TIMER, state="running")
    unit(name="upgrades are installed", name_=UPGRADE_TIMER, state="running")
    unit(name="window for reboots", name_=REBOOT_TIMER, state="running")
    unit(name="alert for what waits", name_=ALERT_TIMER, state="running")


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    peers = {other.name: other.address_for(here.machine) for other in here.others}
    return Wanted(
        here.settings.updates, windows(here.settings)[here.machine.name], peers, here.settings.postgres is not None
    )


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    written = (*source_files(wanted.updates), apt_file(wanted.updates), *window_files(wanted))
    return merged(
        packages_request(PACKAGES),
        files_request(written),
        UNITS.request(sorted(TIMERS)),
        FOLDERS.request([SOURCES]),
    )


def patterns(wanted: Updates) -> list[str]:
    """What unattended-upgrades may install from, as its Origins-Pattern has it."""
    found = [*_SECURITY, *(_STABLE if wanted.stable else ())]
    for source in wanted.sources.values():
        if source.upgrade:
            # what sources.list calls the suite may be the archive's suite or its code name
            site = urlsplit(source.url).hostname
            found += [f"site={site},archive={source.suite}", f"site={site},codename={source.suite}"]
    return found


def source_files(wanted: Updates) -> tuple[File, ...]:
    """One deb822 file an archive, with its key inside (sources.list(5), Signed-By)."""
    return tuple(File(source_path(name), _source(source)) for name, source in wanted.sources.items())


def source_path(name: str) -> str:
    """Where an archive's description lies."""
    return f"{SOURCES}/bastide-{name}.sources"


def orphans(wanted: Updates, facts: Facts) -> tuple[File, ...]:
    """Archives that the settings do not name any more: their files go."""
    declared = {source_path(name) for name in wanted.sources}
    there = (f"{SOURCES}/{name}" for name in facts[FOLDERS][SOURCES] if name.startswith("bastide-"))
    return tuple(File(path, None) for path in there if path not in declared)


def apt_file(wanted: Updates) -> File:
    """apt.conf(5), in a drop-in that is read after the package's own."""
    return File("/etc/apt/apt.conf.d/60bastide", render("updates/60bastide.j2", patterns=patterns(wanted)))


def window_files(wanted: Wanted) -> tuple[File, ...]:
    """The timers with this machine's times, and the program with what it must know."""
    config = {
        "peers": wanted.peers,
        "observe_seconds": OBSERVE_SECONDS,
        "by_turns": ROLLED if wanted.databases else (),
        "max_pending_days": wanted.updates.max_pending_days,
        "upgraded": [[urlsplit(one.url).hostname, one.suite] for one in wanted.updates.sources.values() if one.upgrade],
    }
    system = "/etc/systemd/system"
    readme = "Executables in this folder must all end with 0 before this machine may reboot for an update.\n"
    return (
        File(f"{system}/apt-daily.timer.d/bastide.conf", render("updates/apt-daily.timer.j2")),
        File(
            f"{system}/apt-daily-upgrade.timer.d/bastide.conf",
            render("updates/apt-daily-upgrade.timer.j2", upgrade=wanted.times.upgrade),
        ),
        File(f"{system}/bastide-reboot.timer", render("updates/bastide-reboot.timer.j2", reboot=wanted.times.reboot)),
        File(f"{system}/bastide-reboot.service", render("updates/bastide-reboot.service.j2", program=PROGRAM)),
        File(f"{system}/bastide-updates.timer", render("updates/bastide-updates.timer.j2")),
        File(f"{system}/bastide-updates.service", render("updates/bastide-updates.service.j2", program=PROGRAM)),
        File(PROGRAM, program_text(), mode=0o755),
        File(CONFIG, json.dumps(config, indent=1) + "\n"),
        File(f"{CHECKS}/.about", readme),
    )


def program_text() -> str:
    """The program that machines get: in one file, long as it is, since it is installed as it stands."""
    return Path(__file__).with_name("program.py").read_text(encoding="utf-8")


def _source(source: Source) -> str:
    lines = source.key.rstrip("\n").splitlines()
    values = {"url": source.url, "suite": source.suite, "components": source.components}
    return render("updates/archive.sources.j2", key=lines, **values)
