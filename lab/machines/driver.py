"""The machine side of a lab: `lab.backend.Machines` on real machines. Stateless; all it knows is on disk or running."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace

from bastide.errors import LabError
from lab.backend import FirewallRule, MachineSpec, PowerState, PrivateNic, VolumeSpec
from lab.machines import disk, image, links, machine, private, router, seed, volume_store, volumes
from lab.machines.store import Plug, Record, records
from lab.place import STRANGERS, Place
from lab.services import name_server, nsd
from lab.upstream import Upstream, read_upstream


class Driver:
    """Machines of one lab. See `lab.backend.Machines` for what each verb promises."""

    def __init__(self, here: Place, upstream: Upstream | None = None) -> None:
        self._place = here
        self._upstream = upstream or read_upstream()

    def prepare_images(self) -> None:
        """Build what is missing, so that nothing later has to wait for it."""
        image.ensure_prober(self._upstream)
        nsd.prepare()

    def public4_pool(self) -> str:
        """The cloud's half of the lab's /23."""
        return str(self._place.cloud4)

    def public6_pool(self) -> str:
        """The cloud's half of the lab's /48."""
        return str(self._place.cloud6)

    def create(self, spec: MachineSpec) -> None:
        """Make disk and seed; with the same id again, the seed only."""
        record = self._record(spec.id)
        with record.lock():
            record.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk.make(record, self._image(spec.image).layers, spec.disk_gb)
            seed.write(record.root, spec)
            # last: a machine exists when all of it does
            record.write_spec(spec)

    def rebuild(self, spec: MachineSpec) -> None:
        """A new disk."""
        record = self._record(spec.id)
        machine.power_cut(record)
        with record.lock():
            disk.wipe(record)
        self.create(spec)

    def grow_disk(self, machine_id: int, size_gb: int) -> None:
        """Make it bigger."""
        record = self._existing(machine_id)
        with record.lock():
            disk.grow(record, size_gb)

    def delete(self, machine_id: int) -> None:
        """Cut the power and remove all of it but its volumes."""
        record = self._record(machine_id)
        machine.power_cut(record)
        volumes.pull_all(record)
        networks = [plug.nic.network_id for plug in record.plugs()]
        with record.lock():
            disk.wipe(record)
            shutil.rmtree(record.folder, ignore_errors=True)
            record.forget()
        for network_id in networks:
            private.refresh(self._place, network_id)
        router.load_rules(self._place)
        (self._place.folder / f".machine-{machine_id}.lock").unlink(missing_ok=True)

    def start(self, machine_id: int) -> None:
        """Switch on."""
        machine.start(self._existing(machine_id))

    def power_cut(self, machine_id: int) -> None:
        """Pull the plug."""
        machine.power_cut(self._existing(machine_id))

    def shutdown(self, machine_id: int) -> None:
        """Ask it to power off."""
        machine.shutdown(self._existing(machine_id))

    def reboot(self, machine_id: int) -> None:
        """Ask it to reboot."""
        machine.reboot(self._existing(machine_id))

    def power_state(self, machine_id: int) -> PowerState:
        """What is really so."""
        return "running" if machine.running(self._record(machine_id)) else "off"

    def set_public(self, machine_id: int, public4: str, public6: str) -> None:
        """Change the addresses; the cable and the machine's own configuration follow at the next start."""
        record = self._existing(machine_id)
        with record.lock():
            spec = replace(record.spec(), public4=public4, public6=public6)
            disk.mount(record)
            seed.write(record.root, spec)
            record.write_spec(spec)

    def set_firewall(self, machine_id: int, rules: tuple[FirewallRule, ...] | None) -> None:
        """Enforce at the router, at once."""
        self._record(machine_id).write_firewall(rules)
        router.load_rules(self._place)

    def attach(self, machine_id: int, nic: PrivateNic) -> None:
        """Plug into a private network, hot when it runs."""
        record = self._existing(machine_id)
        with record.lock():
            others = tuple(plug for plug in record.plugs() if plug.nic.network_id != nic.network_id)
            before = next((plug for plug in record.plugs() if plug.nic.network_id == nic.network_id), None)
            taken = {plug.slot for plug in others}
            slot = before.slot if before else next(number for number in range(len(taken) + 1) if number not in taken)
            card = Plug(nic, slot)
            if card == before and self._plugged(record, nic.network_id):
                return
            record.write_plugs((*others, card))
            if machine.running(record):
                private.plug(record, card)
            else:
                private.refresh(self._place, nic.network_id)

    def detach(self, machine_id: int, network_id: int) -> None:
        """Pull the cable."""
        record = self._record(machine_id)
        with record.lock():
            record.write_plugs(tuple(plug for plug in record.plugs() if plug.nic.network_id != network_id))
            private.unplug(record, network_id)
        private.refresh(self._place, network_id)

    def delete_network(self, network_id: int) -> None:
        """Remove the network."""
        private.delete(self._place, network_id)

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make it."""
        volumes.make(self._place, spec)

    def delete_volume(self, volume_id: int) -> None:
        """Remove it."""
        volumes.remove(self._place, volume_id)

    def resize_volume(self, volume_id: int, size_gb: int) -> None:
        """Make it bigger."""
        volumes.resize(self._place, volume_id, size_gb)

    def attach_volume(self, volume_id: int, machine_id: int) -> None:
        """Plug it in, hot when the machine runs."""
        volumes.plug(self._existing(machine_id), volume_id)

    def detach_volume(self, volume_id: int) -> None:
        """Pull it out."""
        volumes.pull(self._place, volume_id)

    def publish_zones(self, zones: Mapping[str, str], pointers: Mapping[str, str]) -> None:
        """Serve them by the lab's name server."""
        name_server.publish(self._place, zones, pointers)

    def machine_ids(self) -> set[int]:
        """All that the cloud may have ordered: not the prober, and no stranger."""
        return {record.id for record in records(self._place, prober=False) if record.id < STRANGERS}

    def volume_ids(self) -> set[int]:
        """All volumes."""
        return {volume.spec.id for volume in volume_store.volumes(self._place)}

    def _record(self, machine_id: int) -> Record:
        return Record(self._place, machine_id)

    def _existing(self, machine_id: int) -> Record:
        record = self._record(machine_id)
        record.spec()
        return record

    def _plugged(self, record: Record, network_id: int) -> bool:
        if not machine.running(record):
            return True
        return links.link_exists(f"p{record.id}", self._place.network_netns(network_id))

    def _image(self, name: str) -> image.Image:
        if name == "debian-13":
            return image.ensure_base(self._upstream)
        if name == "prober":
            return image.ensure_prober(self._upstream)
        raise LabError(f"the lab has no image '{name}'", "it has debian-13")
