"""What the lab knows of each volume, on disk: a folder a volume. Any process may read it; changes are atomic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.backend import VolumeSpec, volume_device
from lab.machines.store import Record
from lab.place import Place
from lab.registry import read_json, write_json


@dataclass(frozen=True)
class Volume:
    """One volume's folder. `machine` is the number of the one that it is plugged into, None in none."""

    place: Place
    spec: VolumeSpec
    machine: int | None = None

    @property
    def folder(self) -> Path:
        """All that belongs to the volume."""
        return self.place.volumes_folder / str(self.spec.id)

    @property
    def image(self) -> Path:
        """Its content."""
        return self.folder / "volume.img"

    @property
    def link(self) -> str:
        """The name of the link that leads to it."""
        return Path(volume_device(self.spec.id)).name

    def save(self) -> None:
        """Keep it. This makes the volume exist."""
        write_json(self.folder / "volume.json", {**asdict(self.spec), "machine": self.machine})


def volumes(here: Place) -> Iterator[Volume]:
    """All volumes of the lab, by number."""
    folders = here.volumes_folder.iterdir() if here.volumes_folder.is_dir() else iter(())
    for number in sorted(int(path.name) for path in folders if path.name.isdigit()):
        if volume := find(here, number):
            yield volume


def find(here: Place, number: int) -> Volume | None:
    """The volume of this number; None when there is none (or it was not made to the end)."""
    found = read_json(here.volumes_folder / str(number) / "volume.json")
    if not found:
        return None
    inside = found.pop("machine")
    return Volume(here, VolumeSpec(**found), inside)


def of(record: Record) -> list[Volume]:
    """What is plugged into a machine."""
    return [volume for volume in volumes(record.place) if volume.machine == record.id]
