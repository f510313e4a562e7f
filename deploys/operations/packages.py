"""Debian packages."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from deploys.facts.ask import ask, forget, this_host
from deploys.facts.fact import FactRequest, merged
from deploys.facts.packages import BY_NAME, HALF_WAY, PACKAGES

_LOG = "/var/log/bastide-apt.log"
_FETCHED = "/run/bastide-apt-lists"
# Fetched a moment ago, by this run most likely, and no source was added, changed or taken away since (find(1)).
_FRESH = (
    f'[ -n "$(find {_FETCHED} -mmin -10 2>/dev/null)" ]'
    f' && [ -z "$(find /etc/apt/sources.list /etc/apt/sources.list.d -newer {_FETCHED} 2>/dev/null)" ]'
)
# A lock that somebody else holds is waited for (dpkg's by apt itself, those of lists and archives in `_logged`); a
# changed configuration file stays (apt.conf(5), dpkg(1)); and nothing that is there goes for what comes: two time
# servers, say, would take turns, a run each.
_LOCK_SECONDS = 120
_OPTIONS = (
    f"-qq -y --no-remove -o DPkg::Lock::Timeout={_LOCK_SECONDS} -o Dpkg::Use-Pty=0"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)


@operation()
def packages(names: tuple[str, ...]) -> Generator[PyinfraCommand | str, None, None]:
    """Install what is missing; nothing is upgraded.

    Package lists are fetched only when something is missing, and once for what one run installs.

    + names: Debian package names

    A dpkg run that was interrupted is completed first. Output goes to a log on the machine, so that apt goes on
    when the connection breaks.
    """
    host = this_host()
    facts = ask(host, packages_request(names))
    missing = [name for name in sorted(set(names)) if not facts[PACKAGES][name]]
    if not missing and not facts[HALF_WAY]:
        host.noop("all packages are installed")
        return
    try:
        if facts[HALF_WAY]:
            yield _logged("dpkg --force-confdef --force-confold --configure -a")
        if missing:
            yield f"{_FRESH} || {{ {_logged(f'apt-get {_OPTIONS} update')}; touch {_FETCHED}; }}"
            yield _logged(f"apt-get {_OPTIONS} install --no-install-recommends -- {' '.join(missing)}")
    finally:
        forget(host)


@operation()
def purged(names: tuple[str, ...]) -> Generator[PyinfraCommand | str, None, None]:
    """Remove packages and their settings. One that another one needs stays, and that ends the deploy.

    + names: Debian package names
    """
    host = this_host()
    there = ask(host, purged_request(names))[BY_NAME]
    extra = [name for name in sorted(set(names)) if there[name]]
    if not extra:
        host.noop("none of them is installed")
        return
    try:
        yield _logged(f"dpkg --purge -- {' '.join(extra)}")
    finally:
        forget(host)


def purged_request(names: tuple[str, ...]) -> FactRequest:
    """What that operation asks."""
    return BY_NAME.request(sorted(set(names)))


def packages_request(names: tuple[str, ...]) -> FactRequest:
    """What the operation asks."""
    return merged(PACKAGES.request(sorted(set(names))), HALF_WAY.request(None))


def _logged(line: str) -> str:
    """The line with its output in the log. When it fails the log's end is shown, and lists count as old.

    apt-daily may be at work: apt 3.0 does not wait for its lock of the lists. A deploy restarts by itself what it
    changes: needrestart looks after the next upgrade.
    """
    failed = f"rm -f {_FETCHED}; tail -n 12 {_LOG} >&2; exit 1"
    busy = f"grep -q 'Could not get lock' {_LOG} && [ $(date +%s) -lt $ends ]"
    again = f"do {{ {busy}; }} || {{ {failed}; }}; sleep 1; done"
    started = f"ends=$(($(date +%s) + {_LOCK_SECONDS}))"
    return (
        f"{started}; until DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 {line} >{_LOG} 2>&1 </dev/null; {again}"
    )
