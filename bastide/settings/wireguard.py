"""`settings.wireguard`: the encrypted mesh between the machines, and the administrators who may join it."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Address4, Area, Cidr4, Name
from bastide.settings.network import PRIVATE


def _wireguard_key(value: str) -> str:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32 or value != base64.b64encode(raw).decode():
        raise ValueError("must be a WireGuard public key: 44 characters, as `wg pubkey` prints it")
    return value


class Administrator(Area):
    """A person's device that may join the mesh. It reaches the machines, and no other device."""

    key: Annotated[str, AfterValidator(_wireguard_key)]
    """Its public WireGuard key (`wg genkey | tee private | wg pubkey`); the private one never leaves the device."""
    address: Address4
    """Its address in the mesh."""


class Wireguard(Area):
    """One network in which every machine reaches every other one, encrypted, whoever their provider is."""

    range: Cidr4 = "10.21.0.0/24"
    """The mesh's addresses (RFC 1918), apart from network.range."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 51820
    """UDP port that every machine listens on."""
    administrators: Annotated[dict[Name, Administrator], Field(default_factory=dict)]
    """Devices of administrators by name."""

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        whole = ipaddress.IPv4Network(self.range)
        if not any(whole.subnet_of(private) for private in PRIVATE):
            raise ValueError("range must lie within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (RFC 1918)")
        owners: dict[str, str] = {}
        for name, device in self.administrators.items():
            if (other := owners.setdefault(device.key, name)) != name:
                raise ValueError(f"administrators {other} and {name} have the same key: a key belongs to one device")
        return self

    def problem_with(self, address: str) -> str:
        """Why this cannot be an address in the mesh; "" when it can."""
        whole, one = ipaddress.IPv4Network(self.range), ipaddress.IPv4Address(address)
        if one not in whole:
            return f"must lie in wireguard.range {whole} (got {address})"
        if one in (whole[0], whole[-1]):
            return f"{address} is reserved (network or broadcast)"
        return ""
