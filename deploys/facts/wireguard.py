"""WireGuard."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import wireguard as on_machine


class Peer(TypedDict):
    """What it may send from, and where it is."""

    allowed: list[str]
    endpoint: str


class Interface(TypedDict):
    """The mesh's interface; peers by public key."""

    key: str
    port: int
    size: int
    addresses: list[str]
    peers: dict[str, Peer]


class WireguardState(TypedDict):
    """`sizes`: the packet size of the route to each endpoint; `kernel`: whether that can do it itself."""

    sizes: dict[str, int | None]
    kernel: bool
    running: Interface | None


WIREGUARD = Fact(on_machine.wireguard)
"""Asked with the endpoints of the other machines."""
