"""`settings.fail2ban`: when an address that fails to log in is dropped, and for how long."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import Field, model_validator

from bastide.settings.common import Area, Cidr
from bastide.settings.firewall import SHORTEST


class Fail2ban(Area):
    """Who fails too often gets no answer any more. Operators, the servers and the private network are always spared."""

    max_tries: Annotated[int, Field(ge=3, le=20)] = 5
    """Failed tries after which an address is banned. Each key that is refused is one, and so is an unknown user."""
    find_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    """Minutes within which they count."""
    ban_minutes: Annotated[int, Field(ge=10, le=10_080)] = 60
    """Minutes of the first ban; each further one of the same address lasts twice as long."""
    max_ban_days: Annotated[int, Field(ge=1, le=90)] = 7
    """Days that no ban exceeds."""
    remember_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Days for which an ended ban makes the next one longer; then the address is forgotten."""
    spared: tuple[Cidr, ...] = ()
    """Networks that are never banned, besides the operators', the servers' own and the private one."""

    @model_validator(mode="after")
    def _bans_make_sense(self) -> Self:
        if self.ban_minutes > self.max_ban_days * 24 * 60:
            raise ValueError(f"ban_minutes must not exceed max_ban_days ({self.max_ban_days * 24 * 60} minutes)")
        for text in self.spared:
            network = ipaddress.ip_network(text)
            if network.prefixlen < SHORTEST[network.version]:
                raise ValueError(f"spared: {network} is most of the internet: nobody would be banned")
        return self
