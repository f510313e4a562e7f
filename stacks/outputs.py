"""The one contract towards hosts/: the stack output `machines`, each a `bastide.machines.Machine` without host key."""

from __future__ import annotations

import pulumi

from bastide.settings import Server, Settings
from stacks.servers import MadeServer, Servers


def export_machines(settings: Settings, servers: Servers) -> None:
    """Export what the machines are and where they answer. No secret is among it."""
    pulumi.export("machines", [_machine(name, settings.servers[name], made) for name, made in servers.made.items()])


def _machine(name: str, wanted: Server, made: MadeServer) -> dict[str, object]:
    return {
        "name": name,
        "role": wanted.role,
        "location": made.server.location,
        "id": made.server.id,
        "generation": wanted.generation,
        "address": made.ipv4.ip_address,
        # a primary IPv6 is a /64; the provider's images take its first address
        "address6": made.ipv6.ip_address.apply(first_address),
        "private_address": wanted.private_address,
    }


def first_address(network: str) -> str:
    """The server's own address in its /64: "2001:db8:1::" or "2001:db8:1::/64" gives "2001:db8:1::1"."""
    return network.split("/")[0].removesuffix("::") + "::1"
