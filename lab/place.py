"""Where a lab is: its identity and every name, address and folder that follows from it. Pure: nothing is touched here.

A lab is known by a short id, made from its name and the checkout it belongs to, so that two clones never meet; and by
a slot, a small number that is unique on this machine and gives it its addresses.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from bastide.lab_name import check_lab_name

ROOT = Path("/var/lib/bastide-lab")
CHECKOUT = Path(__file__).resolve().parent.parent

# one /23 of the benchmark range for each slot (RFC 2544: 198.18.0.0/15)
SLOTS = 256
_RANGE4 = IPv4Network("198.18.0.0/15")
# one /48 of the documentation range for each slot (RFC 3849)
_RANGE6 = IPv6Network("2001:db8::/32")

# "the operator's office": where traffic of this host into any lab comes from (RFC 5737 and RFC 3849 ranges)
OPERATOR4 = "198.51.100.10"
OPERATOR6 = "2001:db8:ffff::10"
# Hetzner's gateway and metadata addresses (docs.hetzner.com, "Static IP configuration" and "Server metadata")
GATEWAY4 = "172.31.1.1"
GATEWAY6 = "fe80::1"
METADATA = "169.254.169.254"
# cloud-init's data source for Hetzner asks there first (cloudinit/sources/DataSourceHetzner.py, since 24.1)
METADATA6 = "fe80::a9fe:a9fe"
# the machine number of the prober: the cloud never gives it out
PROBER = 0
# Machines of somebody else, which no server of the cloud owns, are numbered from here; the cloud counts from 1001 up.
# They live in the upper half of a lab's addresses, and the cloud in the lower one.
STRANGERS = 1_000_000


@dataclass(frozen=True)
class Place:
    """One lab's names and addresses."""

    name: str
    id: str
    slot: int

    @property
    def folder(self) -> Path:
        """All state of the lab (root only)."""
        return ROOT / self.id

    @property
    def machines_folder(self) -> Path:
        """A folder for each machine."""
        return self.folder / "machines"

    @property
    def volumes_folder(self) -> Path:
        """A folder for each volume."""
        return self.folder / "volumes"

    @property
    def router(self) -> str:
        """The network namespace in which all machines' public cables end."""
        return f"bl-{self.id}"

    def machine_netns(self, machine_id: int) -> str:
        """A machine's own namespace, new at each boot."""
        return f"bl-{self.id}-m{machine_id}"

    def network_netns(self, network_id: int) -> str:
        """A private network."""
        return f"bl-{self.id}-n{network_id}"

    def owns_netns(self, name: str) -> bool:
        """Does a namespace of this name belong to the lab?"""
        return re.fullmatch(rf"bl-{self.id}(-[mn]\d+)?", name) is not None

    @property
    def uplink(self) -> str:
        """The host's end of the cable to the router."""
        return f"bl-{self.id}"

    @property
    def host_table(self) -> str:
        """The lab's nft table (family inet) in the host's own namespace."""
        return f"bastide_{self.id}"

    @property
    def cgroup(self) -> str:
        """The lab's tree of control groups (and, under systemd, its scope)."""
        return f"bastide-lab-{self.id}"

    @property
    def range4(self) -> IPv4Network:
        """The /23 of the slot."""
        return IPv4Network((int(_RANGE4.network_address) + self.slot * 512, 23))

    @property
    def range6(self) -> IPv6Network:
        """The /48 of the slot."""
        return IPv6Network((int(_RANGE6.network_address) + (self.slot << 80), 48))

    @property
    def cloud4(self) -> IPv4Network:
        """What the cloud gives out: the lower half."""
        return next(self.range4.subnets())

    @property
    def cloud6(self) -> IPv6Network:
        """What the cloud gives out: the lower half."""
        return next(self.range6.subnets())

    def stranger4(self, number: int) -> str:
        """The address of the stranger with this number (from `STRANGERS` up): of another network than the cloud's."""
        return str(list(self.range4.subnets())[1][10 + number - STRANGERS])

    def stranger6(self, number: int) -> str:
        """The stranger's /64; the machine takes ::1 of it."""
        upper = list(self.range6.subnets())[1]
        return str(IPv6Network((int(upper.network_address) + ((10 + number - STRANGERS) << 64), 64)))

    @property
    def router4(self) -> IPv4Address:
        """The router's end of the uplink."""
        return self.range4[1]

    @property
    def host4(self) -> IPv4Address:
        """The host's end of the uplink."""
        return self.range4[2]

    @property
    def router6(self) -> IPv6Address:
        """The router's end of the uplink."""
        return self.range6[1]

    @property
    def host6(self) -> IPv6Address:
        """The host's end of the uplink."""
        return self.range6[2]

    @property
    def prober4(self) -> str:
        """The prober's address."""
        return str(self.range4[3])

    @property
    def prober6(self) -> str:
        """The prober's /64; the machine takes ::1 of it."""
        return str(IPv6Network((int(self.range6.network_address) + (3 << 64), 64)))


def lab_id(name: str, checkout: Path = CHECKOUT) -> str:
    """The short id of a lab: up to three letters of its name, then five of a hash of name and checkout.

    Eight characters, so that `bl-<id>` and a suffix fit an interface name (15, IFNAMSIZ). Raises `LabError` when the
    name is not fit.
    """
    check_lab_name(name)
    digest = hashlib.sha256(f"{checkout}\0{name}".encode()).hexdigest()
    return name.replace("-", "")[:3] + digest[:5]
