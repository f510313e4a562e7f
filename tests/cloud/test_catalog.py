"""Locations, server types and images."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud.conftest import Api


def test_locations(client: Any) -> None:
    locations = {place.name: (place.country, place.network_zone) for place in client.locations.get_all()}
    assert locations == {
        "fsn1": ("DE", "eu-central"),
        "nbg1": ("DE", "eu-central"),
        "hel1": ("FI", "eu-central"),
        "ash": ("US", "us-east"),
        "hil": ("US", "us-west"),
        "sin": ("SG", "ap-southeast"),
    }
    found = client.locations.get_by_name("hel1")
    assert found is not None
    assert client.locations.get_by_id(found.id).city == "Helsinki"


def test_server_types(client: Any) -> None:
    kinds = {kind.name: kind for kind in client.server_types.get_all()}
    assert {"cx23", "cx33", "cx43", "cpx22", "cax11", "ccx13"} <= kinds.keys()
    assert (kinds["cx23"].cores, kinds["cx23"].memory, kinds["cx23"].disk) == (2, 4, 40)
    assert kinds["cax11"].architecture == "arm"
    assert kinds["cx22"].deprecation is not None
    assert client.server_types.get_by_id(kinds["cx23"].id).name == "cx23"
    assert {price["location"] for price in kinds["cx23"].prices or []} == {"fsn1", "nbg1", "hel1"}


def test_images(client: Any, api: Api) -> None:
    assert {"debian-12", "debian-13", "ubuntu-24.04"} <= {image.name for image in client.images.get_all()}
    image = client.images.get_by_name_and_architecture("debian-13", "x86")
    assert image is not None
    assert client.images.get_by_id(image.id).os_version == "13"
    assert api.ok("GET", "/images?name=debian-11")["images"] == []
    assert len(api.ok("GET", "/images?name=debian-11&include_deprecated=true")["images"]) == 1
    assert api.ok("GET", "/images?type=snapshot")["images"] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image": "debian-12"}, (422, "unsupported_error")),
        ({"image": "ubuntu-24.04"}, (422, "unsupported_error")),
        ({"image": "beos"}, (422, "invalid_input")),
        ({"server_type": "cax11"}, (422, "unsupported_error")),
        ({"server_type": "cx22"}, (422, "invalid_server_type")),
        ({"server_type": "huge"}, (422, "invalid_input")),
        ({"location": "ash"}, (422, "invalid_input")),
        ({"location": "moon"}, (422, "invalid_input")),
    ],
)
def test_what_cannot_be_ordered(api: Api, change: dict[str, str], expected: tuple[int, str]) -> None:
    order = {"name": "web", "server_type": "cx23", "image": "debian-13", "location": "fsn1", **change}
    assert api.error("POST", "/servers", order) == expected
    assert api.machines.machines == {}
