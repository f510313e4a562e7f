"""A machine side without machines: it remembers what it was told, in memory. For tests of the API that need no root.

Nothing boots. What `lab.backend.Machines` promises is kept (idempotent verbs, errors as `LabError`), and what it
demands is checked: two things at once for one machine, or traffic before a firewall is set, are noted in `broken`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from bastide.errors import LabError
from lab.backend import FirewallRule, MachineSpec, PowerState, PrivateNic, VolumeSpec


@dataclass
class Told:
    """What is known of one machine."""

    spec: MachineSpec
    power: PowerState = "off"
    rules: tuple[FirewallRule, ...] | None = None
    rules_known: bool = False
    nics: dict[int, PrivateNic] = field(default_factory=dict)
    public: tuple[str, str] = ("", "")


@dataclass
class ToldVolume:
    """What is known of one volume."""

    spec: VolumeSpec
    size_gb: int
    machine: int | None = None


class NoMachines:
    """Implements `lab.backend.Machines`. `seconds` is how long each verb takes; `failing` verbs raise `LabError`."""

    def __init__(self, public4: str = "198.18.0.0/23", public6: str = "2001:db8::/48", seconds: float = 0.0) -> None:
        self.machines: dict[int, Told] = {}
        self.volumes: dict[int, ToldVolume] = {}
        self.calls: list[tuple[str, int]] = []
        self.zones: dict[str, str] = {}
        self.pointers: dict[str, str] = {}
        self.failing: set[str] = set()
        self.broken: list[str] = []
        self.seconds = seconds
        self._pools = (public4, public6)
        self._busy: set[int] = set()
        self._guard = threading.Lock()

    def public4_pool(self) -> str:
        """See `Machines`."""
        return self._pools[0]

    def public6_pool(self) -> str:
        """See `Machines`."""
        return self._pools[1]

    def create(self, spec: MachineSpec) -> None:
        """See `Machines`."""
        with self._alone("create", spec.id):
            if spec.id in self.machines:
                self.machines[spec.id].spec = spec
            else:
                self.machines[spec.id] = Told(spec, public=(spec.public4, spec.public6))

    def rebuild(self, spec: MachineSpec) -> None:
        """See `Machines`."""
        with self._alone("rebuild", spec.id):
            told = self._told(spec.id)
            if told.power != "off":
                self.broken.append(f"machine {spec.id} was rebuilt while it was running")
            told.spec = spec

    def grow_disk(self, machine_id: int, size_gb: int) -> None:
        """See `Machines`."""
        with self._alone("grow_disk", machine_id):
            told = self._told(machine_id)
            if told.power != "off":
                self.broken.append(f"the disk of machine {machine_id} grew while it was running")
            told.spec = replace(told.spec, disk_gb=size_gb)

    def delete(self, machine_id: int) -> None:
        """See `Machines`."""
        with self._alone("delete", machine_id):
            self.machines.pop(machine_id, None)
            for volume in self.volumes.values():
                if volume.machine == machine_id:
                    volume.machine = None

    def start(self, machine_id: int) -> None:
        """See `Machines`."""
        with self._alone("start", machine_id):
            told = self._told(machine_id)
            if not told.rules_known:
                self.broken.append(f"machine {machine_id} was started before its firewall was set")
            told.power = "running"

    def power_cut(self, machine_id: int) -> None:
        """See `Machines`."""
        with self._alone("power_cut", machine_id):
            self._told(machine_id).power = "off"

    def shutdown(self, machine_id: int) -> None:
        """See `Machines`. These machines obey at once."""
        with self._alone("shutdown", machine_id):
            self._told(machine_id).power = "off"

    def reboot(self, machine_id: int) -> None:
        """See `Machines`."""
        with self._alone("reboot", machine_id):
            self._told(machine_id)

    def power_state(self, machine_id: int) -> PowerState:
        """See `Machines`."""
        return self._told(machine_id).power

    def set_public(self, machine_id: int, public4: str, public6: str) -> None:
        """See `Machines`."""
        with self._alone("set_public", machine_id):
            self._told(machine_id).public = (public4, public6)

    def set_firewall(self, machine_id: int, rules: tuple[FirewallRule, ...] | None) -> None:
        """See `Machines`."""
        with self._alone("set_firewall", machine_id):
            told = self._told(machine_id)
            told.rules, told.rules_known = rules, True

    def attach(self, machine_id: int, nic: PrivateNic) -> None:
        """See `Machines`."""
        with self._alone("attach", machine_id):
            self._told(machine_id).nics[nic.network_id] = nic

    def detach(self, machine_id: int, network_id: int) -> None:
        """See `Machines`."""
        with self._alone("detach", machine_id):
            if machine_id in self.machines:
                self.machines[machine_id].nics.pop(network_id, None)

    def delete_network(self, network_id: int) -> None:
        """See `Machines`."""
        self.calls.append(("delete_network", network_id))
        if any(network_id in told.nics for told in self.machines.values()):
            self.broken.append(f"network {network_id} was deleted while a machine was in it")

    def create_volume(self, spec: VolumeSpec) -> None:
        """See `Machines`."""
        with self._alone("create_volume", spec.id):
            self.volumes.setdefault(spec.id, ToldVolume(spec, spec.size_gb))

    def delete_volume(self, volume_id: int) -> None:
        """See `Machines`."""
        with self._alone("delete_volume", volume_id):
            told = self.volumes.pop(volume_id, None)
            if told and told.machine is not None:
                self.broken.append(f"volume {volume_id} was deleted while it was in machine {told.machine}")

    def resize_volume(self, volume_id: int, size_gb: int) -> None:
        """See `Machines`."""
        with self._alone("resize_volume", volume_id):
            if size_gb < self.volumes[volume_id].size_gb:
                self.broken.append(f"volume {volume_id} was made smaller")
            self.volumes[volume_id].size_gb = size_gb

    def attach_volume(self, volume_id: int, machine_id: int) -> None:
        """See `Machines`."""
        with self._alone("attach_volume", machine_id):
            self._told(machine_id)
            told = self.volumes[volume_id]
            if told.machine not in (None, machine_id):
                self.broken.append(f"volume {volume_id} was attached twice")
            told.machine = machine_id

    def detach_volume(self, volume_id: int) -> None:
        """See `Machines`."""
        with self._alone("detach_volume", volume_id):
            if volume_id in self.volumes:
                self.volumes[volume_id].machine = None

    def publish_zones(self, zones: Mapping[str, str], pointers: Mapping[str, str]) -> None:
        """See `Machines`."""
        if "publish_zones" in self.failing:
            raise LabError("publish_zones failed", "this was asked for by a test")
        for name in zones.keys() & self.zones.keys():
            if zones[name] != self.zones[name] and serial_of(zones[name]) <= serial_of(self.zones[name]):
                self.broken.append(f"zone {name} changed and its serial did not rise")
        self.zones, self.pointers = dict(zones), dict(pointers)

    def machine_ids(self) -> set[int]:
        """See `Machines`."""
        return set(self.machines)

    def volume_ids(self) -> set[int]:
        """See `Machines`."""
        return set(self.volumes)

    def _told(self, machine_id: int) -> Told:
        if machine_id not in self.machines:
            raise LabError(f"there is no machine {machine_id}")
        return self.machines[machine_id]

    @contextmanager
    def _alone(self, verb: str, machine_id: int) -> Iterator[None]:
        with self._guard:
            if machine_id in self._busy:
                self.broken.append(f"{verb} came for machine {machine_id} while it was busy")
            self._busy.add(machine_id)
            self.calls.append((verb, machine_id))
        try:
            if self.seconds:
                time.sleep(self.seconds)
            if verb in self.failing:
                raise LabError(f"{verb} failed for machine {machine_id}", "this was asked for by a test")
            yield
        finally:
            with self._guard:
                self._busy.discard(machine_id)


def serial_of(text: str) -> int:
    """The serial of a zone file: the third word after the type of its SOA record (RFC 1035, section 3.3.13)."""
    words = text.split()
    return int(words[words.index("SOA") + 3])
