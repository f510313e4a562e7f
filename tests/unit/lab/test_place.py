"""A lab's names and addresses follow from its name, its checkout and its slot, and fit where they must."""

from __future__ import annotations

import shutil
from ipaddress import IPv4Address, IPv6Network
from itertools import pairwise
from pathlib import Path

import pytest

from bastide.errors import LabError
from lab import place, registry
from lab.place import Place, lab_id


def test_two_checkouts_and_two_names_never_share_an_id() -> None:
    ids = {lab_id(name, Path(checkout)) for name in ("lab", "rehearsal") for checkout in ("/a", "/b")}
    assert len(ids) == 4
    assert lab_id("lab", Path("/a")) == lab_id("lab", Path("/a"))


@pytest.mark.parametrize("name", ["a", "lab", "rehearsal-of-the-long-name-here"])
def test_interface_names_fit(name: str) -> None:
    here = Place(name, lab_id(name), 255)
    assert len(here.id) <= 8
    # IFNAMSIZ is 16 with its closing zero
    assert len(here.uplink) <= 15


@pytest.mark.parametrize("name", ["", "Lab", "9lab", "a b", "../etc", "a" * 40])
def test_unfit_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="no name for a lab"):
        lab_id(name)


def test_slots_do_not_overlap() -> None:
    places = [Place("x", "x", slot) for slot in range(place.SLOTS)]
    assert len({here.range4 for here in places}) == place.SLOTS
    assert str(places[0].range4) == "198.18.0.0/23"
    assert str(places[255].range4) == "198.19.254.0/23"
    assert str(places[255].range6) == "2001:db8:ff::/48"
    for one, two in pairwise(places):
        assert not one.range4.overlaps(two.range4)
        assert not one.range6.overlaps(two.range6)


def test_the_labs_own_addresses_stay_below_the_pool() -> None:
    here = Place("x", "x", 3)
    own = [str(here.router4), str(here.host4), here.prober4]
    assert own == ["198.18.6.1", "198.18.6.2", "198.18.6.3"]
    assert here.prober6 == "2001:db8:3:3::/64"


def test_strangers_live_where_the_cloud_gives_nothing_out() -> None:
    here = Place("x", "x", 3)
    assert (str(here.cloud4), str(here.cloud6)) == ("198.18.6.0/24", "2001:db8:3::/49")
    one, last = place.STRANGERS, place.STRANGERS + 199
    assert (here.stranger4(one), here.stranger4(last)) == ("198.18.7.10", "198.18.7.209")
    assert here.stranger6(one) == "2001:db8:3:800a::/64"
    for number in (one, last):
        assert IPv4Address(here.stranger4(number)) in here.range4
        assert IPv4Address(here.stranger4(number)) not in here.cloud4
        assert IPv6Network(here.stranger6(number)).subnet_of(here.range6)
        assert not here.cloud6.overlaps(IPv6Network(here.stranger6(number)))


def test_a_lab_owns_its_namespaces_only() -> None:
    here = Place("x", "lab12345", 0)
    assert all(here.owns_netns(name) for name in ("bl-lab12345", "bl-lab12345-m7", "bl-lab12345-n12"))
    assert not any(here.owns_netns(name) for name in ("bl-lab12345x", "bl-lab1234", "bl-lab12345-x", "bl-other000-m7"))


def test_the_last_lab_gives_the_host_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    low = {"fs.inotify.max_user_instances": "128"}
    monkeypatch.setattr(registry, "_routed", lambda here: False)
    monkeypatch.setattr(registry, "_low_sysctls", lambda: {} if told else low)
    monkeypatch.setattr(registry, "run", lambda words: told.append(words[-1]))
    labs = {}
    for name in ("one", "two"):
        with registry.alone(name):
            labs[name] = registry.claim(name)
    assert told == ["fs.inotify.max_user_instances=8192"]
    for name, here in labs.items():
        assert place.ROOT.exists()
        with registry.alone(name):
            shutil.rmtree(here.folder)
            registry.release(here)
        assert len(told) == (1 if name == "one" else 2), "as long as there is a lab, its settings stay"
    assert told[-1] == "fs.inotify.max_user_instances=128"
    assert not place.ROOT.exists()
