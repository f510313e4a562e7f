"""What every machine has: packages, time, locale, a bounded journal, its name and the names of the others."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.machines import Machine
from bastide.settings import Base
from deploys.facts.fact import FactRequest, merged
from deploys.facts.links import LINKS
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.operations.files import File, files, files_request
from deploys.operations.links import link
from deploys.operations.packages import packages, packages_request
from deploys.operations.units import unit
from deploys.preflight import Fitness
from deploys.render import render

PACKAGES = ("ca-certificates", "locales", "systemd-timesyncd", "tzdata")
LOCALTIME = "/etc/localtime"
TIME_UNIT = "systemd-timesyncd.service"
_LOCALE_GEN = "if [ -s /etc/locale.gen ]; then locale-gen >/dev/null; fi"


@dataclass(frozen=True)
class Wanted:
    """The settings, and whose names a machine must know: its own and those of all."""

    base: Base
    machine: Machine
    machines: tuple[Machine, ...]


@deploy("base")
def base(wanted: Wanted, fitness: Fitness) -> None:
    """Bring a machine to the common ground. There is no swap to set up: the provider's images have none.

    `fitness` has facts of the machine: the clock of a container is its host's, and where cloud-init is, it writes
    /etc/hosts from a template at each boot when the provider tells it to.
    """
    packages(name="packages", names=(*PACKAGES, *wanted.base.packages))
    link(name="time zone", path=LOCALTIME, target=f"/usr/share/zoneinfo/{wanted.base.timezone}")
    files(name="locale", name_="locale", wanted=locale_files(wanted.base), settle=_LOCALE_GEN)
    files(
        name="limits of the journal",
        name_="journal",
        wanted=(journal_file(wanted.base),),
        settle="systemctl restart systemd-journald",
    )
    # a host name that cloud-init sets again at boot is the same one: the provider knows the server by it
    files(
        name="names",
        name_="names",
        wanted=name_files(wanted.machine, wanted.machines, fitness.cloud_init),
        settle="hostname -F /etc/hostname",
    )
    unit(
        name="time synchronisation",
        name_=TIME_UNIT,
        # in a container the unit's own condition keeps it off (ConditionVirtualization=!container)
        state="enabled" if fitness.container else "running",
    )


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    return Wanted(here.settings.base, here.machine, here.machines)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    names = name_files(wanted.machine, wanted.machines, cloud_init=True)
    return merged(
        packages_request((*PACKAGES, *wanted.base.packages)),
        files_request((*locale_files(wanted.base), journal_file(wanted.base), *names)),
        LINKS.request([LOCALTIME]),
        UNITS.request([TIME_UNIT]),
    )


def locale_files(wanted: Base) -> tuple[File, ...]:
    """C.UTF-8 is built in; any other locale must be generated."""
    generated = "" if wanted.locale == "C.UTF-8" else render("base/locale.gen.j2", locale=wanted.locale)
    return (
        File("/etc/locale.gen", generated),
        # Debian 13: /etc/default/locale is a link to it
        File("/etc/locale.conf", render("base/locale.conf.j2", locale=wanted.locale)),
    )


def journal_file(wanted: Base) -> File:
    """journald.conf(5), in a drop-in."""
    file_hours = 24 if wanted.journal.keep_days > 1 else 6
    text = render("base/journald.conf.j2", file_hours=file_hours, **dict(wanted.journal))
    return File("/etc/systemd/journald.conf.d/bastide.conf", text)


def name_files(machine: Machine, machines: tuple[Machine, ...], cloud_init: bool) -> tuple[File, ...]:
    """Host name and /etc/hosts; where cloud-init may write the latter, its template too, so that both say the same."""
    hosts = render("base/hosts.j2", addresses={other.name: other.address_for(machine) for other in machines})
    paths = ("/etc/hosts", "/etc/cloud/templates/hosts.debian.tmpl") if cloud_init else ("/etc/hosts",)
    return (File("/etc/hostname", f"{machine.name}\n"), *(File(path, hosts) for path in paths))
