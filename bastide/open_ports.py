"""Which ports capabilities open by themselves: the one list that both firewalls, and their checks, are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bastide.settings import Settings

# Debian's and the projects' own port numbers
ETCD_CLIENT, ETCD_PEER = 2379, 2380
POSTGRES, PATRONI = 5432, 8008


@dataclass(frozen=True)
class Door:
    """One port that a capability opens. `reach`: everybody, or only who is in the mesh (settings.wireguard)."""

    capability: str
    port: int
    protocol: Literal["tcp", "udp"]
    reach: Literal["anywhere", "mesh"]
    reason: str


def doors(settings: Settings) -> tuple[Door, ...]:
    """All of them, for one stack."""
    found: list[Door] = []
    if settings.wireguard:
        # WireGuard answers nobody who holds no key of the mesh: to a stranger the port is as silent as a closed one
        found.append(Door("wireguard", settings.wireguard.port, "udp", "anywhere", "WireGuard"))
    if settings.postgres:
        found += [
            Door("etcd", ETCD_CLIENT, "tcp", "mesh", "etcd for its clients"),
            Door("etcd", ETCD_PEER, "tcp", "mesh", "etcd among its members"),
            Door("postgres", POSTGRES, "tcp", "mesh", "PostgreSQL"),
            Door("postgres", PATRONI, "tcp", "mesh", "Patroni's API"),
        ]
    return tuple(found)


def open_ports(settings: Settings, *, in_mesh: bool = False) -> set[tuple[str, int]]:
    """What everybody may reach, as (protocol, port), named by the settings or opened by a capability; `in_mesh`: what
    who is in the mesh may. ssh is not among it: that is open to some."""
    reach = ("anywhere", "mesh") if in_mesh else ("anywhere",)
    named = {(str(port.protocol), port.port) for port in settings.firewall.public}
    return named | {(str(door.protocol), door.port) for door in doors(settings) if door.reach in reach}
