"""The one contract towards hosts/: the stack output `machines`, each a `bastide.machines.Machine` without host key."""

from __future__ import annotations

import pulumi

from bastide.settings import ExistingServer, Server, Settings
from stacks.servers import MadeServer, Servers
from stacks.volumes import Volumes


def export_machines(settings: Settings, servers: Servers, volumes: Volumes | None = None) -> None:
    """Export what the machines are and where they answer. No secret is among it."""
    devices = volumes.devices if volumes else {}
    machines = [_machine(name, settings.made[name], made, devices.get(name)) for name, made in servers.made.items()]
    machines += [existing_machine(name, server) for name, server in settings.existing.items()]
    pulumi.export("machines", machines)


def existing_machine(name: str, wanted: ExistingServer) -> dict[str, object]:
    """A machine that is not made here: all of it is what the settings say."""
    return {
        "name": name,
        "role": wanted.role,
        "location": wanted.location,
        "id": wanted.id,
        "generation": 1,
        "address": wanted.address,
        "address6": wanted.address6 or "",
        "private_address": "",
        "provider": wanted.provider,
        "hoster": wanted.hoster,
        "city": wanted.city,
        "country_code": wanted.country,
    }


def _machine(name: str, wanted: Server, made: MadeServer, volume: pulumi.Output[str] | None) -> dict[str, object]:
    return {
        "name": name,
        "role": wanted.role,
        "location": made.server.location,
        "id": made.server.id,
        "generation": wanted.generation,
        "address": made.ipv4.ip_address,
        "address6": made.address6,
        "private_address": wanted.private_address,
        "volume": volume or "",
    }
