"""`settings.wireguard`: the encrypted mesh between the machines, and the administrators who may join it."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Address4, Area, Cidr4, Name


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
    def _devices_fit(self) -> Self:
        whole = ipaddress.IPv4Network(self.range)
        owners: dict[str, str] = {}
        for name, device in self.administrators.items():
            if ipaddress.IPv4Address(device.address) not in whole:
                raise ValueError(f"administrators.{name}.address must lie in range {whole} (got {device.address})")
            for what in (device.address, device.key):
                if (other := owners.setdefault(what, name)) != name:
                    raise ValueError(f"administrators.{name} and {other} have the same address or key")
        return self
