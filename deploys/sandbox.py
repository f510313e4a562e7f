"""What services of Debian's may do that belong to no capability: a drop-in each.

A service of a capability says so in that one's own unit or drop-in (`templates/sandbox/service.j2`), so that it is
restarted the way that it must be: etcd one member after the other, fail2ban under a dead man's switch.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.sandbox import DEBIANS, Sandbox
from deploys.facts.fact import FactRequest
from deploys.here import Here
from deploys.operations.files import File, files, files_request
from deploys.render import render
from deploys.sandboxed import drop_in


@dataclass(frozen=True)
class Wanted:
    """The services."""

    services: tuple[Sandbox, ...]


@deploy("sandbox")
def sandbox(wanted: Wanted) -> None:
    """None of them runs for longer than a moment: the next start is the first in its sandbox, and nothing restarts."""
    files(name="services of Debian's", name_="sandbox", wanted=sandbox_files(wanted), settle="systemctl daemon-reload")


def wanted_of(here: Here) -> Wanted:
    """The same for every machine."""
    return Wanted(DEBIANS)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    return files_request(sandbox_files(wanted))


def sandbox_files(wanted: Wanted) -> tuple[File, ...]:
    """systemd.unit(5), drop-ins."""
    return tuple(drop_in(one, render("sandbox/debians.conf.j2", sandbox=one)) for one in wanted.services)
