"""What a member of etcd says, and what it answers to whoever has less than all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bastide.layout import etcd, postgres
from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.probes.batch import command
from tests.verify.probes.cluster import ETCD_PORTS, Said, answer
from tests.verify.probes.engine import probe
from tests.verify.probes.listed import listed
from tests.verify.probes.scripts import script
from tests.verify.probes.systemd import show
from tests.verify.probes.world import Observation, World


@probe()
def members(world: World, machine: Machine) -> tuple[str, Said]:
    """What a member says of itself and of the others."""
    own = answer(world, machine, member)
    shown = "# bastide-etcdctl endpoint status; what it answers without TLS, certificate or password, and to whose"
    return shown, Said(own, {machine.name: own})


def said_of(
    settings: Settings, observation: Observation, machine: Machine, note: Callable[[str], None]
) -> dict[str, Any]:
    """What the voter says, out of what `members` gave; empty on a machine that has no vote, where no voter may run."""
    said: Said = observation.data
    if machine.name in settings.etcd_members:
        return said.own
    assert not said.own["listening"], f"it has no vote, and a voter listens at {', '.join(said.own['listening'])}"
    note("it has no vote, and no voter runs")
    return {}


def member_script(settings: Settings, machine: Machine, stack: str) -> str:
    """remote/etcd_member.py with what it must know: on a machine that has no vote, only who reaches those who have.

    Its words are the numbers of accounts without a right.
    """
    addresses = {name: settings.mesh[name] for name in settings.etcd_members}
    votes = machine.name in addresses
    root_only = [[address, port] for address in addresses.values() for port in ETCD_PORTS]
    plan: dict[str, Any] = {"name": machine.name if votes else "", "root_only": root_only}
    if votes:
        plan |= {
            "address": addresses[machine.name],
            "endpoints": {name: f"https://{address}:{etcd.CLIENT_PORT}" for name, address in addresses.items()},
            "client_port": etcd.CLIENT_PORT,
            "peer_port": etcd.PEER_PORT,
            "ctl": etcd.CTL,
            "folder": etcd.FOLDER,
            "snapshots": etcd.SNAPSHOTS,
            "lead": etcd.LEAD,
            "patroni": postgres.CONFIG,
            "site": machine.role != "witness",
            "asks_users": machine.name == settings.etcd_administrator,
            "prefix": etcd.prefix(stack),
            "shared": f"{etcd.prefix(stack)}config",
        }
    return script(plan, "connections", "etcd_member")


keeps = command("etcdkeeps", show(f"{etcd.KEEP}.timer", f"{etcd.KEEP}.service"))
member = listed(
    "etcd",
    lambda world, machine: member_script(world.settings, machine, world.stack) if world.settings.postgres else "",
)
