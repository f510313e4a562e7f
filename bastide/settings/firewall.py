"""`settings.firewall`: what may reach the machines, in the cloud firewall and in each machine's own."""

from __future__ import annotations

import ipaddress
from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bastide.settings.common import Area, Cidr

Port = Annotated[int, Field(ge=1, le=65535)]


SHORTEST = {4: 8, 6: 16}
"""Shorter prefixes (by IP version) are no office, provider or VPN: larger than any network that one operator is in."""


class PublicPort(Area):
    """One port that the whole internet may reach."""

    port: Port
    """Port number."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """tcp or udp."""
    reason: Annotated[str, Field(min_length=3, max_length=80)]
    """Why it is open; stands as a comment in the rules."""


class Firewall(Area):
    """Default deny: what is not named here or opened by another capability is closed."""

    operators: Annotated[tuple[Cidr, ...], Field(min_length=1)]
    """Networks that the operators come from; ssh is open to them, sshd's penalties and bans spare them."""
    public: tuple[PublicPort, ...] = ()
    """Ports open to everybody, besides those that other capabilities open."""

    @model_validator(mode="after")
    def _operators_are_some(self) -> Self:
        networks = [ipaddress.ip_network(text) for text in self.operators]
        for network in networks:
            if network.prefixlen < SHORTEST[network.version]:
                raise ValueError(f"operators: {network} is no network of operators: say ssh.open_to: anywhere for that")
        for one, other in combinations(networks, 2):
            if one.overlaps(other):
                raise ValueError(f"operators: {one} and {other} overlap: name the larger one only")
        if not any(network.version == 4 for network in networks):
            raise ValueError("operators must hold an IPv4 network: deploys and checks reach the machines over IPv4")
        return self
