"""The mesh between the machines: whose key is which. Private keys are derived, so that none of them lies anywhere."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from bastide.machines import Machine
from bastide.secrets import Keyring
from bastide.settings import Settings

KEEPALIVE_SECONDS = 25
"""For devices behind a router that forgets who asked (wg(8), PersistentKeepalive); machines need none."""


@dataclass(frozen=True)
class MeshKey:
    """A key pair as wg(8) writes it."""

    private: SecretStr
    public: str


@dataclass(frozen=True)
class Mesh:
    """Who has which address in it. `range` is the network of all, `port` the UDP port that every machine listens on."""

    range: str
    port: int
    machines: dict[str, str]
    administrators: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """What pyinfra may print of it: it holds no key."""
        return {"range": self.range, "machines": self.machines, "administrators": self.administrators}

    @property
    def prefix(self) -> int:
        """The length of the range's prefix."""
        return ipaddress.IPv4Network(self.range).prefixlen

    @property
    def everybody(self) -> tuple[str, ...]:
        """All addresses that somebody in it has."""
        return (*self.machines.values(), *self.administrators.values())


def mesh_of(settings: Settings) -> Mesh | None:
    """The mesh that a stack wants; None without one."""
    if settings.wireguard is None:
        return None
    devices = {name: device.address for name, device in settings.wireguard.administrators.items()}
    return Mesh(settings.wireguard.range, settings.wireguard.port, settings.mesh, devices)


def machine_key(keyring: Keyring, machine: Machine, version: str = "") -> MeshKey:
    """A machine's key pair: another one for each generation of the machine, and for each version of the master."""
    seed = keyring.derive(f"wireguard/{machine.name}/{machine.generation}", version=version)
    return _pair(X25519PrivateKey.from_private_bytes(_clamped(seed)))


def machine_keys(keyring: Keyring, machine: Machine) -> dict[str, MeshKey]:
    """All pairs that a machine may have at the moment, by public key: one for each master of the keyring."""
    pairs = (machine_key(keyring, machine, version) for version in keyring.masters)
    return {pair.public: pair for pair in pairs}


def new_key() -> MeshKey:
    """A fresh pair for a person's device, from the operating system's generator."""
    return _pair(X25519PrivateKey.generate())


def _clamped(seed: bytes) -> bytes:
    """RFC 7748, section 5, as `wg genkey` does it: the text on the machine is then what is computed with."""
    return bytes([seed[0] & 248, *seed[1:31], (seed[31] & 127) | 64])


def _pair(key: X25519PrivateKey) -> MeshKey:
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return MeshKey(SecretStr(base64.b64encode(private).decode()), base64.b64encode(public).decode())
