"""The line between the cloud (what was ordered) and the machines (what runs): the verbs one asks of the other.

`lab/cloud` calls, `lab/machines` does. All verbs block until the work is done and are called from worker threads,
never twice at once for the same machine. All are idempotent: the cloud repeats them after it was killed half-way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Direction = Literal["in", "out"]
Protocol4 = Literal["tcp", "udp", "icmp", "esp", "gre"]
PowerState = Literal["running", "off"]
VolumeFormat = Literal["", "ext4", "xfs"]

# the provider's name servers (docs.hetzner.com, "Authoritative name servers"); in the lab one machine has all names
NAMESERVERS = ("hydrogen.ns.hetzner.com.", "oxygen.ns.hetzner.com.", "helium.ns.hetzner.de.")


@dataclass(frozen=True)
class FirewallRule:
    """One rule of a cloud firewall. `port` is "22", "80-85" or "" (all); `networks` are CIDRs, v4 or v6."""

    direction: Direction
    protocol: Protocol4
    port: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrivateNic:
    """An attachment to a private network. `network_range` is the whole network's CIDR, `address` the machine's."""

    network_id: int
    network_range: str
    address: str
    mac: str
    alias_addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineSpec:
    """All that a machine is made from.

    `public4` is an address ("198.18.0.10"), `public6` a /64 ("2001:db8:1:a::/64", the machine takes ::1); either may be
    "". `user_data` is what the customer gave, as it is. `metadata` are the metadata service's plain keys and values
    ("availability-zone", "region", "instance-id", "hostname"); the machine side adds addresses. `disk_gb` and
    `memory_mb` come from the server type. `ssh_keys` are public keys for root.
    """

    id: int
    name: str
    image: str
    cpus: int
    memory_mb: int
    disk_gb: int
    public_mac: str
    public4: str = ""
    public6: str = ""
    user_data: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    ssh_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeSpec:
    """A block device with a life of its own. `format` is the file system that it is made with ("": none)."""

    id: int
    size_gb: int
    format: VolumeFormat = ""


class Machines(Protocol):
    """What the cloud may ask of the machines. Failures are `LabError`; an action then ends in "error"."""

    def public4_pool(self) -> str:
        """The CIDR that public IPv4 addresses are given out from (first usable ones are taken by the lab itself:
        the cloud starts at .10 of it)."""

    def public6_pool(self) -> str:
        """The prefix that the machines' /64 are given out from (the cloud starts at its 16th /64)."""

    def create(self, spec: MachineSpec) -> None:
        """Make the disk from the image and seed it. Does not start. Again with the same id: updates the seed only."""

    def rebuild(self, spec: MachineSpec) -> None:
        """A new disk from the image; the machine is off before and after."""

    def grow_disk(self, machine_id: int, size_gb: int) -> None:
        """Make the disk and its file system as big as that, at least as big as they are; the machine is off."""

    def delete(self, machine_id: int) -> None:
        """Cut the power and remove all of it. No error when it does not exist."""

    def start(self, machine_id: int) -> None:
        """Switch on. Returns when PID 1 exists; no effect when it is on."""

    def power_cut(self, machine_id: int) -> None:
        """Power off as when somebody pulls the plug: the cables first."""

    def shutdown(self, machine_id: int) -> None:
        """Ask PID 1 to power off (ACPI's soft off). Returns at once; the machine goes off when it is ready."""

    def reboot(self, machine_id: int) -> None:
        """Ask PID 1 to reboot. Returns at once."""

    def power_state(self, machine_id: int) -> PowerState:
        """What is really so, not what was ordered."""

    def set_public(self, machine_id: int, public4: str, public6: str) -> None:
        """Give or take public addresses; takes effect at the next start."""

    def set_firewall(self, machine_id: int, rules: tuple[FirewallRule, ...] | None) -> None:
        """Enforce these rules outside of the machine, on its public interface, at once and atomically.

        None = no firewall attached: all passes. With rules: inbound is dropped unless a rule with direction "in"
        matches; outbound passes unless there are rules with direction "out", then only what they match. Stateful.
        May be called before the machine was started, and then holds from its first packet."""

    def attach(self, machine_id: int, nic: PrivateNic) -> None:
        """Plug the machine into a private network; hot when it runs, and at each later start."""

    def detach(self, machine_id: int, network_id: int) -> None:
        """Pull the private cable. No error when it is not plugged."""

    def delete_network(self, network_id: int) -> None:
        """Remove the network with its address server. No error when it does not exist."""

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume, which is in no machine. Again with the same id: nothing."""

    def delete_volume(self, volume_id: int) -> None:
        """Remove it with all that is on it. It is in no machine; no error when it does not exist."""

    def resize_volume(self, volume_id: int, size_gb: int) -> None:
        """Make it as big as that: at least as big as it is. A machine that has it sees the new size at once."""

    def attach_volume(self, volume_id: int, machine_id: int) -> None:
        """Plug it into a machine, hot when that runs, and at each later start. No error when it is there already.

        The machine finds it by the path that `volume_device` gives. It must be in no other machine."""

    def detach_volume(self, volume_id: int) -> None:
        """Pull it out, whatever the machine is doing with it. No error when it is in none.

        Before a machine is deleted nobody has to call this: its volumes stay, and are in no machine then."""

    def publish_zones(self, zones: Mapping[str, str], pointers: Mapping[str, str]) -> None:
        """Serve exactly these zones at the name servers, and these reverse names; returns when they are served.

        `zones` are names ("example.eu") and whole zone files (RFC 1035) whose serial has risen when they differ from
        what was published before, `pointers` addresses (v4 or v6) and the names that their PTR records give."""

    def machine_ids(self) -> set[int]:
        """What exists on the machine side of what the cloud may have ordered, for adoption after a restart: a machine
        that is in this set and belongs to no server is removed."""

    def volume_ids(self) -> set[int]:
        """The same for volumes."""


def volume_device(volume_id: int) -> str:
    """Where a machine finds a volume, as on Hetzner's servers."""
    return f"/dev/disk/by-id/scsi-0HC_Volume_{volume_id}"
