"""`settings.network`: the private network over all locations."""

from __future__ import annotations

import ipaddress
from typing import Self

from pydantic import model_validator

from bastide.settings.common import Area, Cidr4

PRIVATE = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""RFC 1918."""


class Network(Area):
    """One private network with one subnet in it. Its traffic is neither encrypted nor filtered by the provider."""

    range: Cidr4 = "10.20.0.0/16"
    """The whole network (RFC 1918); its first address is the provider's gateway."""
    subnet: Cidr4 = "10.20.0.0/24"
    """The part of it that the servers' addresses are taken from."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        whole, part = ipaddress.IPv4Network(self.range), ipaddress.IPv4Network(self.subnet)
        if not any(whole.subnet_of(private) for private in PRIVATE):
            raise ValueError("range must lie within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (RFC 1918)")
        if not part.subnet_of(whole):
            raise ValueError("subnet must lie within range")
        return self

    @property
    def gateway(self) -> str:
        """The provider's router: the first usable address of the range."""
        return str(ipaddress.IPv4Network(self.range)[1])
