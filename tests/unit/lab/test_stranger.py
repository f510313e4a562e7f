"""Machines of somebody else: the cloud neither sees nor removes them, and their metadata is not Hetzner's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bastide.errors import LabError
from lab import place
from lab.backend import MachineSpec
from lab.machines import machine, metadata, stranger
from lab.machines.driver import Driver
from lab.machines.store import Record
from lab.place import STRANGERS, Place

KEY = "ssh-ed25519 AAAA operator"
SPEC = MachineSpec(
    id=1001, name="web", image="debian-13", cpus=2, memory_mb=4096, disk_gb=40, public_mac="96:00:00:00:03:e9"
)


class Made:
    """The machine side without machines: a folder for each, and a host key once it was switched on."""

    def __init__(self, here: Place) -> None:
        self.here = here
        self.deleted: list[int] = []

    def create(self, spec: MachineSpec) -> None:
        record = Record(self.here, spec.id)
        (record.root / "etc/ssh").mkdir(parents=True)
        record.write_spec(spec)

    def start(self, record: Record) -> None:
        (record.root / "etc/ssh/ssh_host_ed25519_key.pub").write_text("ssh-ed25519 BBBB root@box\n")

    def delete(self, machine_id: int) -> None:
        self.deleted.append(machine_id)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(place, "ROOT", tmp_path)
    here = Place("x", "lab12345", 3)
    here.machines_folder.mkdir(parents=True)
    box = Made(here)
    monkeypatch.setattr(machine, "start", box.start)
    return box


def test_it_has_addresses_of_its_own_and_says_how_it_is_reached(made: Any) -> None:
    found = stranger.add(made.here, made, "box", "debian", KEY)
    assert found == stranger.Stranger("box", "198.18.7.10", "2001:db8:3:800a::1", "ssh-ed25519 BBBB", "debian")
    assert stranger.add(made.here, made, "box", "debian", KEY) == found, "again is the same machine"
    assert stranger.add(made.here, made, "other", "root", KEY).address == "198.18.7.11"
    assert Record(made.here, STRANGERS + 1).spec().ssh_keys == (KEY,)


def test_a_taken_name_is_refused(made: Any) -> None:
    stranger.add(made.here, made, "box", "debian", KEY)
    made.create(SPEC)
    for name, user in (("box", "ubuntu"), ("web", "debian")):
        with pytest.raises(LabError, match=f"there is a machine '{name}', and it is not this one"):
            stranger.add(made.here, made, name, user, KEY)


def test_the_cloud_does_not_see_it(made: Any) -> None:
    stranger.add(made.here, made, "box", "debian", KEY)
    made.create(SPEC)
    driver = object.__new__(Driver)
    driver._place = made.here
    assert driver.machine_ids() == {1001}, "what the cloud sees and nobody ordered is removed"
    assert (driver.public4_pool(), driver.public6_pool()) == ("198.18.6.0/24", "2001:db8:3::/49")


def test_only_a_stranger_is_removed(made: Any) -> None:
    stranger.add(made.here, made, "box", "debian", KEY)
    made.create(SPEC)
    with pytest.raises(LabError, match="there is no stranger 'web'"):
        stranger.remove(made.here, made, "web")
    stranger.remove(made.here, made, "box")
    assert made.deleted == [STRANGERS]


def test_its_metadata_is_another_providers(made: Any) -> None:
    stranger.add(made.here, made, "box", "debian", KEY)
    made.create(replace(SPEC, metadata={"region": "eu-central"}))
    paths = ("/hetzner/v1/metadata/region", "/hetzner/v1/userdata", "/latest/meta-data/instance-id")
    assert [metadata.answer(Record(made.here, STRANGERS), path) for path in paths] == [None, None, str(STRANGERS)]
    assert metadata.answer(Record(made.here, 1001), paths[0]) == "eu-central"


def test_metadata_may_be_told_otherwise_than_it_was_made(made: Any) -> None:
    made.create(replace(SPEC, metadata={"region": "eu-central", "hostname": "web"}))
    told = [
        metadata.answer(Record(made.here, SPEC.id), f"/hetzner/v1/metadata{key}", lambda name: {"region": f"of-{name}"})
        for key in ("/region", "/hostname", "")
    ]
    assert told[:2] == ["of-web", "web"]
    assert 'region: "of-web"' in (told[2] or "")


def test_a_link_in_place_of_its_host_key_is_not_followed(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(record: Record) -> None:
        outside = made.here.folder / "outside"
        outside.write_text("ssh-ed25519 CCCC\n")
        os.symlink(outside, record.root / "etc/ssh/ssh_host_ed25519_key.pub")  # noqa: PTH211

    monkeypatch.setattr(machine, "start", start)
    monkeypatch.setattr(stranger, "_HOST_KEY_SECONDS", 0.1)
    with pytest.raises(LabError, match="makes no host key"):
        stranger.add(made.here, made, "box", "debian", KEY)
