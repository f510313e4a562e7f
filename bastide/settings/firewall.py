"""`settings.firewall`: what may reach the machines, in the cloud firewall and in each machine's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bastide.settings.common import Area, Cidr

Port = Annotated[int, Field(ge=1, le=65535)]


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
    """Networks that the operators come from; ssh is open to them and they are spared from sshd's penalties."""
    public: tuple[PublicPort, ...] = ()
    """Ports open to everybody, besides those that other capabilities open."""
