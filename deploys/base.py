"""What every machine has: packages, time, locale, a bounded journal, its name and the names of the others; and what
none has: programs that nobody needs, files that are open to everybody."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.base import CLOSED, DEBSUMS, JOURNAL, LOGROTATE, NEEDRESTART, REWRITTEN, TMPFILES, UNNEEDED
from bastide.machines import Machine
from bastide.settings import Base
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import CONTENTS
from deploys.facts.links import LINKS
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.operations.files import File, files, files_request
from deploys.operations.links import link
from deploys.operations.modes import close, close_request
from deploys.operations.packages import packages, packages_request, purged, purged_request
from deploys.operations.parts import with_part
from deploys.operations.units import unit
from deploys.preflight import Fitness
from deploys.render import render

PACKAGES = ("ca-certificates", "debsums", "locales", "needrestart", "systemd-timesyncd", "tzdata")
LOCALTIME = "/etc/localtime"
TIME_UNIT = "systemd-timesyncd.service"
_SYSLOG = "syslog.service"  # whichever program keeps the logs of syslog(3) is called so, too
_LOCALE_GEN = "if [ -s /etc/locale.gen ]; then locale-gen >/dev/null; fi"


@dataclass(frozen=True)
class Wanted:
    """The settings, and whose names a machine must know: its own and those of all."""

    base: Base
    machine: Machine
    machines: tuple[Machine, ...]

    @property
    def ours(self) -> bool:
        """Whether the platform made it: of a server that exists nothing is taken away, its packages are named."""
        return self.machine.provider != "existing"


@deploy("base")
def base(wanted: Wanted, fitness: Fitness) -> None:
    """Bring a machine to the common ground. There is no swap to set up: the provider's images have none.

    `fitness` has facts of the machine: the clock of a container is its host's, and where cloud-init is, it writes
    /etc/hosts from a template at each boot when the provider tells it to.
    """
    packages(name="packages", names=(*PACKAGES, *wanted.base.packages))
    if wanted.ours:
        purged(name="packages that nobody needs", names=unneeded(wanted.base))
    facts = ask(this_host(), journal_request(), UNITS.request([_SYSLOG]))
    link(name="time zone", path=LOCALTIME, target=f"/usr/share/zoneinfo/{wanted.base.timezone}")
    files(name="locale", name_="locale", wanted=locale_files(wanted.base), settle=_LOCALE_GEN)
    files(
        name="limits of the journal",
        name_="journal",
        wanted=(journal_file(wanted.base, forward=_forwards(facts)), journal_main(facts, forward=_forwards(facts))),
        settle="systemctl restart systemd-journald",
    )
    files(name="restarts and checksums of what is installed", name_="packages", wanted=package_files())
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


@deploy("base")
def closed() -> None:
    """Files that Debian leaves open to everybody: after all that writes them (accounts, packages), and at each boot."""
    files(
        name="closed at each boot",
        name_="closed",
        wanted=closed_files(),
        settle=f"systemctl daemon-reload && systemd-tmpfiles --create {TMPFILES}",
    )
    close(name="closed", wanted=CLOSED)


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    return Wanted(here.settings.base, here.machine, here.machines)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    names = name_files(wanted.machine, wanted.machines, cloud_init=True)
    return merged(
        packages_request((*PACKAGES, *wanted.base.packages)),
        purged_request(unneeded(wanted.base)),
        files_request((*locale_files(wanted.base), journal_file(wanted.base), *names, *package_files())),
        files_request((File(JOURNAL, ""), *closed_files())),
        journal_request(),
        close_request(CLOSED),
        LINKS.request([LOCALTIME]),
        UNITS.request([TIME_UNIT, _SYSLOG]),
    )


def locale_files(wanted: Base) -> tuple[File, ...]:
    """C.UTF-8 is built in; any other locale must be generated."""
    generated = "" if wanted.locale == "C.UTF-8" else render("base/locale.gen.j2", locale=wanted.locale)
    return (
        File("/etc/locale.gen", generated),
        # Debian 13: /etc/default/locale is a link to it
        File("/etc/locale.conf", render("base/locale.conf.j2", locale=wanted.locale)),
    )


def unneeded(wanted: Base) -> tuple[str, ...]:
    """Packages that shall not be there; who declares one wants it."""
    return tuple(name for name in UNNEEDED if name not in wanted.packages)


def journal_file(wanted: Base, *, forward: bool = False) -> File:
    """journald.conf(5), in a drop-in. `forward`: to another program that keeps logs, where there is one."""
    file_hours = 24 if wanted.journal.keep_days > 1 else 6
    text = render("base/journald.conf.j2", file_hours=file_hours, forward=forward, **dict(wanted.journal))
    return File("/etc/systemd/journald.conf.d/bastide.conf", text)


def journal_request() -> FactRequest:
    """What others say in the main file."""
    return CONTENTS.request([JOURNAL])


def journal_main(facts: Facts, *, forward: bool) -> File:
    """The same for who looks at the main file alone, as auditors do; the drop-in counts."""
    text = facts[CONTENTS].get(JOURNAL) or "[Journal]\n"
    part = render("base/journald.main.conf.j2", forward=forward)
    return File(JOURNAL, with_part(text, part, r"\[Journal\]"))


def _forwards(facts: Facts) -> bool:
    return facts[UNITS][_SYSLOG]["ActiveState"] == "active"


def package_files() -> tuple[File, ...]:
    """needrestart and debsums: neither asks anybody."""
    return (
        File(NEEDRESTART, render("base/needrestart.conf.j2")),
        File(DEBSUMS, render("base/debsums.j2")),
    )


def closed_files() -> tuple[File, ...]:
    """tmpfiles.d(5), at each boot and after logs were rotated, which leaves new ones."""
    return (
        File(TMPFILES, render("base/tmpfiles.conf.j2", closed=(*REWRITTEN, *CLOSED))),
        File(
            f"/etc/systemd/system/{LOGROTATE}.d/bastide-closed.conf",
            render("base/logrotate.conf.j2", tmpfiles=TMPFILES),
        ),
    )


def name_files(machine: Machine, machines: tuple[Machine, ...], cloud_init: bool) -> tuple[File, ...]:
    """Host name and /etc/hosts; where cloud-init may write the latter, its template too, so that both say the same."""
    hosts = render("base/hosts.j2", addresses={other.name: other.address_for(machine) for other in machines})
    paths = ("/etc/hosts", "/etc/cloud/templates/hosts.debian.tmpl") if cloud_init else ("/etc/hosts",)
    return (File("/etc/hostname", f"{machine.name}\n"), *(File(path, hosts) for path in paths))
