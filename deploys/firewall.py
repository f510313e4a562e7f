"""The machine's own firewall: default deny in, and the metadata service closed to all but root."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.firewall import OTHER_LOADER, RULES, TABLE, UNIT
from bastide.layout.model import OpenPort
from bastide.layout.wireguard import INTERFACE
from bastide.machines import Machine
from bastide.mesh import Mesh
from bastide.open_ports import opened
from bastide.settings import Firewall, Network, Ssh
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.nftables import TABLES
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.units import unit
from deploys.render import render

PACKAGES = ("nftables",)
_LOADED = f"/var/lib/bastide/{TABLE}.loaded"
_LOAD = f"/usr/sbin/nft -f {RULES}"

# What was loaded is recorded by digest: rules that somebody adds or removes by hand are seen by the next run.
_SETTLE = f"""\
if [ -e {RULES} ]; then
    systemctl daemon-reload && systemctl -q enable {UNIT} && systemctl restart {UNIT} || exit 1
    nft -s list table inet {TABLE} | sha256sum | cut -d' ' -f1 >{_LOADED}
else
    nft destroy table inet {TABLE}
    rm -f {_LOADED} /etc/systemd/system/sysinit.target.wants/{UNIT}
    systemctl daemon-reload
fi
"""


@dataclass(frozen=True)
class Wanted:
    """The settings; where ssh listens and for whom; who belongs to the stack; and the ports that capabilities open."""

    firewall: Firewall
    ssh: Ssh
    network: Network
    machines: tuple[Machine, ...]
    mesh: Mesh | None = None
    opened: tuple[OpenPort, ...] = ()


@deploy("firewall")
def firewall(wanted: Wanted) -> None:
    """The host firewall, changed under a dead man's switch: it stays only if a new login works.

    Debian's own nftables.service is masked: its start, stop and reload all begin with `flush ruleset`, which would
    wipe this table and those of everybody else.
    """
    host = this_host()
    packages(name="packages", names=PACKAGES)
    facts = ask(host, TABLES.request([TABLE]), UNITS.request([UNIT]))
    confirmed(
        name="rules",
        name_="firewall",
        wanted=rule_files(wanted),
        settle=_SETTLE,
        port=wanted.ssh.port,
        drift=drift(facts),
    )
    unit(name="no other loader of rules", name_=OTHER_LOADER, state="masked")


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    settings = here.settings
    return Wanted(settings.firewall, settings.ssh, settings.network, here.machines, here.mesh, opened(settings))


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    return merged(
        packages_request(PACKAGES),
        files_request(rule_files(wanted)),
        TABLES.request([TABLE]),
        UNITS.request([UNIT, OTHER_LOADER]),
    )


def rule_files(wanted: Wanted) -> tuple[File, ...]:
    """The ruleset, and the unit that loads it before any interface is up."""
    addresses = [address for machine in wanted.machines for address in (machine.address, machine.address6) if address]
    public = [_Port(port.port, port.protocol, _comment(port.reason)) for port in wanted.firewall.public]
    in_mesh = wanted.mesh.machines.values() if wanted.mesh else ()
    rules = render(
        "firewall/firewall.nft.j2",
        operators4=[network for network in wanted.firewall.operators if ":" not in network],
        operators6=[network for network in wanted.firewall.operators if ":" in network],
        peers4=[wanted.network.range, *(a for a in addresses if ":" not in a), *in_mesh],
        peers6=[address for address in addresses if ":" in address],
        ssh_port=wanted.ssh.port,
        ssh_open_to=wanted.ssh.open_to,
        public=[*public, *_ports(wanted.opened, "anywhere")],
        mesh=wanted.mesh,
        interface=INTERFACE,
        in_mesh=_ports(wanted.opened, "mesh"),
    )
    service = render("firewall/bastide-firewall.service.j2", load=_LOAD)
    return (
        File(RULES, rules, mode=0o600, check="nft -c -f"),
        File(f"/etc/systemd/system/{UNIT}", service),
    )


def drift(facts: Facts) -> str:
    """Why the rules are not in force although the files may be as wanted; "" when they are."""
    table = facts[TABLES][TABLE]
    if not table["live"]:
        return "the rules are not loaded"
    if table["live"] != table["loaded"]:
        return "the loaded rules were changed by somebody"
    if facts[UNITS][UNIT]["UnitFileState"] != "enabled":
        return "the rules would not be loaded at the next boot"
    return ""


@dataclass(frozen=True)
class _Port:
    """A port as the template names it."""

    port: int
    protocol: str
    reason: str


def _ports(opened: tuple[OpenPort, ...], reach: str) -> list[_Port]:
    return [_Port(one.port, one.protocol, _comment(one.reason)) for one in opened if one.reach == reach]


def _comment(reason: str) -> str:
    """The reason as nft can carry it: nft(8) has no way to write a quote inside a comment."""
    return re.sub(r"[^A-Za-z0-9 .,:;()/_-]", "?", reason)
