"""What the areas of the settings share: the frozen model and the checked kinds of text."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

# RFC 1123, one label in lower case: host names, server names and user names all have to fit in it
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")

# OpenSSH's names of key types (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), without ssh-dss, which OpenSSH 10 no longer
# knows, and without the NIST curves, which ssh-audit's policy for Debian 13 refuses
_KEY_TYPES = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa")
_RSA_MIN_BITS = 3072  # BSI TR-02102-1: RSA below 3000 bits is not to be used since 2024
# "this network", RFC 1918, loopback, link-local, multicast and what was never given out (RFC 6890)
_NOT_PUBLIC4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
        *("224.0.0.0/4", "240.0.0.0/4"),
    )
)
_GLOBAL_UNICAST6 = ipaddress.IPv6Network("2000::/3")  # RFC 4291, 2.4


class Mistakes(ValueError):
    """What is wrong between areas: sentences, each beginning with a path like `etcd.voters`."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


class Area(BaseModel):
    """A part of the settings. Frozen, and unknown keys are mistakes: a typo must never be a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def to_json(self) -> dict[str, Any]:
        """What `pyinfra ... debug-inventory` prints of it (settings hold no secret)."""
        return self.model_dump(mode="json")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and inner hyphens, at most 32, beginning with a letter")
    return value


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise ValueError("must be a domain name in lower case, like example.eu")
    return value


def _cidr(value: str) -> str:
    _no_zone(value)
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"must be a network like 192.0.2.0/24 or 2001:db8::/48 ({_reason(error)})") from None


def _no_zone(value: str) -> None:
    """Refuse a zone id (RFC 4007, "%eth0"): it means something on one machine only, and Python takes any text there."""
    if "%" in value:
        raise ValueError("must have no zone id: leave out % and what follows")


def _cidr4(value: str) -> str:
    network = _cidr(value)
    if ":" in network:
        raise ValueError("must be an IPv4 network: private networks carry IPv4 only")
    return network


def _address4(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError("must be an IPv4 address like 10.20.0.11") from None


def _public_address4(value: str) -> str:
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        raise ValueError("must be an IPv4 address like 192.0.2.17") from None
    if any(address in network for network in _NOT_PUBLIC4):
        raise ValueError("must be a public address: nobody outside reaches this one")
    return str(address)


def _public_address6(value: str) -> str:
    _no_zone(value)
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        raise ValueError("must be an IPv6 address like 2001:db8::17") from None
    if address not in _GLOBAL_UNICAST6:
        raise ValueError("must be a public address: nobody outside reaches this one")
    return str(address)


def _host_key(value: str) -> str:
    key = key_blob(_public_key(value))
    if not key.startswith("ssh-ed25519 "):
        raise ValueError("must be the ed25519 host key: /etc/ssh/ssh_host_ed25519_key.pub on the machine")
    return key


def _public_key(value: str) -> str:
    key = " ".join(value.split())
    kind, _, rest = key.partition(" ")
    if "PRIVATE KEY" in key:
        raise ValueError("is a private key; the stack file holds public ones only (the .pub file)")
    if kind not in _KEY_TYPES:
        raise ValueError(f"must be an ssh public key that begins with one of {', '.join(_KEY_TYPES)}")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
        fields = _wire_fields(blob)
    except (binascii.Error, ValueError):
        raise ValueError("is not a whole ssh public key: its middle part does not decode (a line cut off?)") from None
    if not fields or fields[0] != kind.encode() or len(fields) < 2:
        raise ValueError(f"says {kind} outside but holds another kind of key inside")
    if kind == "ssh-ed25519" and len(fields[1]) != 32:
        raise ValueError("is not a whole ssh public key: an ed25519 key has 32 bytes")
    if kind == "ssh-rsa" and (bits := int.from_bytes(fields[-1], "big").bit_length()) < _RSA_MIN_BITS:
        raise ValueError(f"is an RSA key of {bits} bits: use ed25519, or RSA with at least {_RSA_MIN_BITS}")
    return key


Name = Annotated[str, AfterValidator(_name)]
Domain = Annotated[str, AfterValidator(_domain)]
Cidr = Annotated[str, AfterValidator(_cidr)]
Cidr4 = Annotated[str, AfterValidator(_cidr4)]
Address4 = Annotated[str, AfterValidator(_address4)]
PublicAddress4 = Annotated[str, AfterValidator(_public_address4)]
PublicAddress6 = Annotated[str, AfterValidator(_public_address6)]
HostKey = Annotated[str, AfterValidator(_host_key)]
PublicKey = Annotated[str, AfterValidator(_public_key)]


def key_blob(public_key: str) -> str:
    """The part of a public key that makes it that key: its type and base64 middle, without the comment."""
    return " ".join(public_key.split()[:2])


def _wire_fields(blob: bytes) -> list[bytes]:
    """Split an ssh wire-format blob into its length-prefixed strings (RFC 4251, section 5)."""
    fields = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("short field")
        fields.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return fields


def _reason(error: ValueError) -> str:
    return "it has host bits set" if "host bits" in str(error) else "it does not parse"
