"""What a run knows of the machine at hand and of its stack before it asks any machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from pyinfra.api.host import Host

from bastide.machines import Inventory, Machine
from bastide.mesh import Mesh, mesh_of
from bastide.secrets import AlertSecrets, Keyring
from bastide.settings import Settings


@dataclass(frozen=True)
class Here:
    """One machine of one stack.

    `machines`: all of the stack, this one among them. `adopt` names the machine whose data the operator declares to be
    the cluster's, after etcd has lost all; "" for none. `inventory`: what checks know of the stack.
    """

    settings: Settings
    machine: Machine
    machines: tuple[Machine, ...]
    stack: str
    keyring: Keyring
    adopt: str = ""
    alert_secrets: AlertSecrets = field(default_factory=AlertSecrets)
    inventory: Inventory | None = None

    @cached_property
    def mesh(self) -> Mesh | None:
        """`None` in a stack without one."""
        return mesh_of(self.settings)

    @property
    def others(self) -> tuple[Machine, ...]:
        """All machines but this one."""
        return tuple(machine for machine in self.machines if machine.name != self.machine.name)


def here_of(host: Host) -> Here:
    """What the inventory (hosts/inventory.py) and the command line say of a host."""
    data = host.data
    return Here(
        data.settings,
        data.machine,
        data.machines,
        data.stack,
        data.keyring,
        adopt=str(data.get("adopt") or ""),
        alert_secrets=data.alert_secrets,
        inventory=data.inventory,
    )
