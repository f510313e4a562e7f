"""What the lab knows of each machine, on disk: a folder a machine. Any process may read it; changes are atomic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bastide.errors import LabError
from lab.backend import FirewallRule, MachineSpec, PrivateNic
from lab.place import PROBER, Place
from lab.registry import locked, read_json, write_json


@dataclass(frozen=True)
class Plug:
    """A private network card as it is plugged: `slot` counts from 0 and makes its name."""

    nic: PrivateNic
    slot: int

    @property
    def interface(self) -> str:
        """The name in the machine: enp7s0, enp8s0 ... as on Hetzner's virtual machines."""
        return f"enp{7 + self.slot}s0"


@dataclass(frozen=True)
class Record:
    """One machine's folder."""

    place: Place
    id: int

    @property
    def folder(self) -> Path:
        """All that belongs to the machine."""
        return self.place.machines_folder / str(self.id)

    @property
    def group(self) -> str:
        """The machine's control group in the lab's tree."""
        return f"m{self.id}"

    @property
    def port(self) -> str:
        """The router's end of the machine's public cable."""
        return f"m{self.id}"

    @property
    def netns(self) -> str:
        """The machine's own network namespace."""
        return self.place.machine_netns(self.id)

    @property
    def nspawn_name(self) -> str:
        """What systemd-nspawn calls it on the host: unique over all labs, unlike its name."""
        return self.netns

    @property
    def root(self) -> Path:
        """The machine's file system, as the host sees it."""
        return self.folder / "root"

    def lock(self) -> AbstractContextManager[None]:
        """One at a time: starting, stopping, plugging."""
        return locked(self.place.folder / f".machine-{self.id}.lock")

    def exists(self) -> bool:
        """Was it made?"""
        return (self.folder / "spec.json").exists()

    def spec(self) -> MachineSpec:
        """What it is made from. Raises `LabError` when there is no such machine."""
        found = read_json(self.folder / "spec.json")
        if not found:
            raise LabError(f"the lab has no machine number {self.id}", "see `python -m lab status`")
        return MachineSpec(**{**found, "ssh_keys": tuple(found["ssh_keys"])})

    def write_spec(self, spec: MachineSpec) -> None:
        """Keep it. This makes the machine exist."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(self.folder / "spec.json", asdict(spec))

    def firewall(self) -> tuple[FirewallRule, ...] | None:
        """The cloud firewall's rules; None when there is none."""
        rules = read_json(self._firewall_file()).get("rules")
        return None if rules is None else tuple(_rule(value) for value in rules)

    def write_firewall(self, rules: tuple[FirewallRule, ...] | None) -> None:
        """Kept beside the folder, not in it: rules may come before the machine is made."""
        if rules is None:
            self._firewall_file().unlink(missing_ok=True)
        else:
            write_json(self._firewall_file(), {"rules": [asdict(rule) for rule in rules]})

    def plugs(self) -> tuple[Plug, ...]:
        """The private network cards."""
        found = read_json(self._nics_file()).get("nics", [])
        return tuple(Plug(_nic(value["nic"]), value["slot"]) for value in found)

    def write_plugs(self, plugs: tuple[Plug, ...]) -> None:
        """Keep them."""
        write_json(self._nics_file(), {"nics": [{"nic": asdict(plug.nic), "slot": plug.slot} for plug in plugs]})

    def is_wanted_on(self) -> bool:
        """Was it switched on, and neither cut off nor gone off by itself since? So it is after the host went down."""
        return (self.folder / "on").exists()

    def want_on(self, value: bool) -> None:
        """Keep whether it should be on."""
        if value:
            (self.folder / "on").touch(mode=0o600)
        else:
            (self.folder / "on").unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what is kept beside the folder."""
        self._firewall_file().unlink(missing_ok=True)
        self._nics_file().unlink(missing_ok=True)

    def _firewall_file(self) -> Path:
        return self.place.machines_folder / f"{self.id}.firewall.json"

    def _nics_file(self) -> Path:
        return self.place.machines_folder / f"{self.id}.nics.json"


def records(here: Place, *, prober: bool = True) -> Iterator[Record]:
    """All machines of the lab, by number."""
    folders = here.machines_folder.iterdir() if here.machines_folder.is_dir() else iter(())
    for number in sorted(int(path.name) for path in folders if path.name.isdigit()):
        record = Record(here, number)
        if record.exists() and (prober or number != PROBER):
            yield record


def by_name(here: Place, name: str) -> Record:
    """The machine of this name. Raises `LabError` with the names that there are."""
    known = {record.spec().name: record for record in records(here)}
    if name not in known:
        raise LabError(f"the lab '{here.name}' has no machine '{name}'", f"it has: {', '.join(known) or 'none'}")
    return known[name]


def _rule(value: dict[str, Any]) -> FirewallRule:
    return FirewallRule(**{**value, "networks": tuple(value["networks"])})


def _nic(value: dict[str, Any]) -> PrivateNic:
    return PrivateNic(**{**value, "alias_addresses": tuple(value["alias_addresses"])})
