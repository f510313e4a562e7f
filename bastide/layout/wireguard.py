"""The mesh."""

from __future__ import annotations

from collections.abc import Iterator

from bastide.layout.model import Listener, OpenPort
from bastide.settings import Settings

INTERFACE = "wg0"
FOLDER = "/etc/wireguard"
CONFIG = f"{FOLDER}/{INTERFACE}.conf"
UNIT = f"wg-quick@{INTERFACE}.service"


def open_ports(settings: Settings) -> Iterator[OpenPort]:
    """One for everybody: WireGuard answers nobody who holds no key of the mesh, so that to a stranger the port is as
    silent as a closed one."""
    if settings.wireguard:
        yield OpenPort("wireguard", settings.wireguard.port, "udp", "anywhere", "WireGuard")


def listeners(settings: Settings, machine: str) -> Iterator[Listener]:
    """The kernel's WireGuard, or the program that stands for it."""
    if settings.wireguard:
        yield Listener(
            settings.wireguard.port, "udp", (UNIT, "the kernel"), "WireGuard", "choose another wireguard.port"
        )
