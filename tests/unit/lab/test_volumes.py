"""Volumes without a machine: what is one, and what a host cannot make."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.errors import LabError
from lab import place
from lab.backend import VolumeSpec, volume_device
from lab.machines import disk, volume_store, volumes
from lab.machines.store import Record
from lab.place import Place


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(place, "ROOT", tmp_path)
    monkeypatch.setattr(disk, "has_loop", lambda: True)
    return Place("lab", "lab12345", 3)


def test_a_volume_is_a_sparse_file_of_its_size(here: Place) -> None:
    volumes.make(here, VolumeSpec(7, 10))
    (made,) = volume_store.volumes(here)
    assert (made.spec, made.machine) == (VolumeSpec(7, 10), None)
    found = made.image.stat()
    assert (found.st_size, found.st_blocks, found.st_mode & 0o777) == (10 << 30, 0, 0o600)
    assert volume_device(7) == f"/dev/disk/by-id/{made.link}"
    made.image.write_text("data")
    volumes.make(here, VolumeSpec(7, 10))
    assert made.image.read_text() == "data", "again: nothing"
    volumes.remove(here, 7)
    volumes.remove(here, 7)
    assert list(here.volumes_folder.iterdir()) == []


def test_one_that_was_not_made_to_the_end_is_none(here: Place) -> None:
    half = here.volumes_folder / "7"
    half.mkdir(parents=True)
    (half / "volume.img").write_text("half a file system")
    assert list(volume_store.volumes(here)) == []
    volumes.make(here, VolumeSpec(7, 10))
    assert [volume.spec.id for volume in volume_store.volumes(here)] == [7]
    assert (half / "volume.img").stat().st_blocks == 0


def test_whose_volumes_are_whose(here: Place) -> None:
    for number, machine in ((7, 1001), (8, None), (9, 1002)):
        here.volumes_folder.joinpath(str(number)).mkdir(parents=True)
        volume_store.Volume(here, VolumeSpec(number, 10, "ext4"), machine).save()
    assert [volume.spec.id for volume in volume_store.of(Record(here, 1001))] == [7]
    with pytest.raises(LabError, match="volume 9 is in machine 1002"):
        volumes.plug(Record(here, 1001), 9)
    with pytest.raises(LabError, match="no volume number 4"):
        volumes.plug(Record(here, 1001), 4)


def test_what_this_host_cannot_make(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes.shutil, "which", lambda *given, **more: None)
    with pytest.raises(LabError, match="type xfs") as error:
        volumes.make(here, VolumeSpec(7, 10, "xfs"))
    assert "xfsprogs" in str(error.value.hint)
    monkeypatch.setattr(disk, "has_loop", lambda: False)
    with pytest.raises(LabError, match="no loop devices"):
        volumes.make(here, VolumeSpec(7, 10))
    assert list(volume_store.volumes(here)) == []
