"""Debian packages."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from deploys.facts.machine import Question, ask, forget, this_host

_LOG = "/var/log/bastide-apt.log"
# a lock that somebody else holds is waited for; a changed configuration file stays (apt.conf(5), dpkg(1))
_OPTIONS = (
    "-qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)


@operation()
def packages(names: tuple[str, ...]) -> Generator[PyinfraCommand | str, None, None]:
    """Install what is missing; nothing is upgraded, and the package lists are fetched only when something is missing.

    + names: Debian package names

    A dpkg run that was interrupted is completed first. Output goes to a log on the machine, so that apt goes on
    when the connection breaks.
    """
    host = this_host()
    seen = ask(host, **packages_question(names))
    missing = [name for name in sorted(set(names)) if not seen["packages"][name]]
    if not missing and not seen["half_way"]:
        host.noop("all packages are installed")
        return
    try:
        if seen["half_way"]:
            yield _logged("dpkg --force-confdef --force-confold --configure -a")
        if missing:
            yield _logged(f"apt-get {_OPTIONS} update")
            yield _logged(f"apt-get {_OPTIONS} install --no-install-recommends -- {' '.join(missing)}")
    finally:
        forget(host)


def packages_question(names: tuple[str, ...]) -> Question:
    """What the operation asks."""
    return {"packages": sorted(set(names)), "half_way": True}


def _logged(line: str) -> str:
    return f"DEBIAN_FRONTEND=noninteractive {line} >{_LOG} 2>&1 </dev/null || {{ tail -n 12 {_LOG} >&2; exit 1; }}"
