"""At which address a machine is reached over ssh: the public one, or the one in the mesh.

Nothing is ever sent to an address of the mesh by a computer that is not in it: in a foreign network somebody else may
have that address.
"""

from __future__ import annotations

import ipaddress
import socket

from bastide.machines import Machine
from bastide.mesh import mesh_of
from bastide.settings import Settings


def in_mesh(settings: Settings) -> bool:
    """Whether this computer is in the mesh: what it sends there comes from an administrator's address."""
    mesh = mesh_of(settings)
    if mesh is None or not mesh.administrators:
        return False
    target = next(iter(mesh.machines.values()))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect((target, 9))  # of a datagram socket: only asks the routes, and sends nothing
            return line.getsockname()[0] in mesh.administrators.values()
    except OSError:
        return False


def ssh_addresses(settings: Settings, machine: Machine) -> tuple[str, ...]:
    """Where to try, in turn. A new machine is in no mesh yet; one that is leaving it for `operators` still is."""
    if not in_mesh(settings):
        return (machine.address,)
    both = (settings.mesh[machine.name], machine.address)
    return both if settings.ssh.open_to == "vpn" else both[::-1]


def comes_over_mesh(settings: Settings, address: str) -> bool:
    """Whether somebody who comes from this address comes over the mesh."""
    mesh = mesh_of(settings)
    return mesh is not None and ipaddress.ip_address(address) in ipaddress.ip_network(mesh.range)
