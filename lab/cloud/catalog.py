"""What the cloud sells: server types and images, as published in 2026.

Prices are of spring 2026, without VAT, in euro; they are here because clients read them, not to be relied on.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lab.cloud.call import Call, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input, not_found
from lab.cloud.listing import listed
from lab.cloud.locations import LOCATIONS, locations

Item = dict[str, Any]

_EU = "fsn1 nbg1 hel1"
_FAR = "ash hil sin"
_GONE = {"announced": "2025-10-16T06:00:00+00:00", "unavailable_after": "2026-01-01T00:00:00+00:00"}

# id, name, category, cores, memory in GB, disk in GB, price a month, locations, deprecated
_TYPES = (
    (22, "cpx11", "Regular Performance", 2, 2, 40, 4.49, _FAR, False),
    (23, "cpx21", "Regular Performance", 3, 4, 80, 8.49, _FAR, False),
    (24, "cpx31", "Regular Performance", 4, 8, 160, 15.99, _FAR, False),
    (25, "cpx41", "Regular Performance", 8, 16, 240, 29.99, _FAR, False),
    (26, "cpx51", "Regular Performance", 16, 32, 360, 59.99, _FAR, False),
    (45, "cax11", "Cost-Optimized", 2, 4, 40, 3.29, _EU, False),
    (93, "cax21", "Cost-Optimized", 4, 8, 80, 5.99, _EU, False),
    (94, "cax31", "Cost-Optimized", 8, 16, 160, 11.99, _EU, False),
    (95, "cax41", "Cost-Optimized", 16, 32, 320, 23.99, _EU, False),
    (96, "ccx13", "General Purpose", 2, 8, 80, 11.99, f"{_EU} {_FAR}", False),
    (97, "ccx23", "General Purpose", 4, 16, 160, 23.99, f"{_EU} {_FAR}", False),
    (98, "ccx33", "General Purpose", 8, 32, 240, 47.99, f"{_EU} {_FAR}", False),
    (99, "ccx43", "General Purpose", 16, 64, 360, 95.99, f"{_EU} {_FAR}", False),
    (100, "ccx53", "General Purpose", 32, 128, 600, 191.99, f"{_EU} {_FAR}", False),
    (101, "ccx63", "General Purpose", 48, 192, 960, 287.99, f"{_EU} {_FAR}", False),
    (104, "cx22", "Cost-Optimized", 2, 4, 40, 3.29, _EU, True),
    (105, "cx32", "Cost-Optimized", 4, 8, 80, 5.49, _EU, True),
    (106, "cx42", "Cost-Optimized", 8, 16, 160, 13.99, _EU, True),
    (107, "cx52", "Cost-Optimized", 16, 32, 320, 28.99, _EU, True),
    (108, "cpx12", "Regular Performance", 1, 2, 40, 4.99, "sin", False),
    (109, "cpx22", "Regular Performance", 2, 4, 80, 5.99, f"{_EU} sin", False),
    (110, "cpx32", "Regular Performance", 4, 8, 160, 10.49, f"{_EU} sin", False),
    (111, "cpx42", "Regular Performance", 8, 16, 320, 19.49, f"{_EU} sin", False),
    (112, "cpx52", "Regular Performance", 12, 24, 480, 27.49, f"{_EU} sin", False),
    (113, "cpx62", "Regular Performance", 16, 32, 640, 37.99, f"{_EU} sin", False),
    (114, "cx23", "Cost-Optimized", 2, 4, 40, 2.99, _EU, False),
    (115, "cx33", "Cost-Optimized", 4, 8, 80, 4.99, _EU, False),
    (116, "cx43", "Cost-Optimized", 8, 16, 160, 8.99, _EU, False),
    (117, "cx53", "Cost-Optimized", 16, 32, 320, 16.99, _EU, False),
)

# id, name, description, flavour, version, architecture, deprecated since
_IMAGES = (
    (67794396, "ubuntu-22.04", "Ubuntu 22.04", "ubuntu", "22.04", "x86", None),
    (103908130, "ubuntu-22.04", "Ubuntu 22.04", "ubuntu", "22.04", "arm", None),
    (45557056, "debian-11", "Debian 11", "debian", "11", "x86", "2026-06-01T00:00:00+00:00"),
    (114690387, "debian-12", "Debian 12", "debian", "12", "x86", None),
    (114690389, "debian-12", "Debian 12", "debian", "12", "arm", None),
    (161547269, "ubuntu-24.04", "Ubuntu 24.04", "ubuntu", "24.04", "x86", None),
    (161547270, "ubuntu-24.04", "Ubuntu 24.04", "ubuntu", "24.04", "arm", None),
    (310557660, "debian-13", "Debian 13", "debian", "13", "x86", None),
    (310557661, "debian-13", "Debian 13", "debian", "13", "arm", None),
    (349619081, "rocky-10", "Rocky Linux 10", "rocky", "10", "x86", None),
    (349619083, "alma-10", "AlmaLinux 10", "alma", "10", "x86", None),
)
# the one image that the machines can be made from
BOOTABLE = "debian-13"


@cache
def server_types() -> list[Item]:
    """All server types, as the API shows them."""
    return [_server_type(*row) for row in _TYPES]


@cache
def images() -> list[Item]:
    """All system images, as the API shows them."""
    return [_image(*row) for row in _IMAGES]


def find(items: list[Item], key: str, field: str) -> Item:
    """The location, type or image with this id or name. Raises `invalid_input` for `field`."""
    for item in items:
        if key in (str(item["id"]), item["name"]):
            return item
    raise invalid_input(field, f"'{key}' does not exist")


def list_locations(cloud: Cloud, call: Call) -> Reply:
    """GET /locations."""
    return listed(call, "locations", locations(), sorts=("id", "name"))


def get_location(cloud: Cloud, call: Call) -> Reply:
    """GET /locations/{id}."""
    return Reply(200, {"location": _by_id(locations(), call, "location")})


def list_server_types(cloud: Cloud, call: Call) -> Reply:
    """GET /server_types."""
    return listed(call, "server_types", server_types())


def get_server_type(cloud: Cloud, call: Call) -> Reply:
    """GET /server_types/{id}."""
    return Reply(200, {"server_type": _by_id(server_types(), call, "server type")})


def list_images(cloud: Cloud, call: Call) -> Reply:
    """GET /images. Deprecated ones only with include_deprecated=true."""
    kept = [item for item in images() if call.one("include_deprecated") == "true" or not item["deprecated"]]
    return listed(call, "images", kept, equal=("name",), among=("type", "status", "architecture", "bound_to"))


def get_image(cloud: Cloud, call: Call) -> Reply:
    """GET /images/{id}."""
    return Reply(200, {"image": _by_id(images(), call, "image")})


def price(net: float) -> dict[str, str]:
    """A price as the API writes it, with Germany's 19 % VAT."""
    return {"net": f"{net:.10f}", "gross": f"{net * 1.19:.10f}"}


def _by_id(items: list[Item], call: Call, what: str) -> Item:
    key = call.id(what)
    for item in items:
        if item["id"] == key:
            return item
    raise not_found(what, key)


def _server_type(
    key: int, name: str, category: str, cores: int, memory: int, disk: int, month: float, where: str, gone: bool
) -> Item:
    ids = {row[1]: row[0] for row in LOCATIONS}
    deprecation = _GONE if gone else None
    return {
        "id": key,
        "name": name,
        "description": name.upper(),
        "category": category,
        "cores": cores,
        "memory": memory,
        "disk": disk,
        "deprecated": gone,
        "deprecation": deprecation,
        "storage_type": "local",
        "cpu_type": "dedicated" if name.startswith("ccx") else "shared",
        "architecture": "arm" if name.startswith("cax") else "x86",
        "prices": [_prices(place, month) for place in where.split()],
        "locations": [
            {
                "id": ids[place],
                "name": place,
                "available": not gone,
                "recommended": not gone,
                "deprecation": deprecation,
            }
            for place in where.split()
        ],
    }


def _prices(location: str, month: float) -> Item:
    # 720 hours a month is what the hourly price is capped at; traffic: 20 TB in Europe, 1 TB elsewhere
    return {
        "location": location,
        "price_hourly": price(month / 720),
        "price_monthly": price(month),
        "included_traffic": (20 if location in _EU.split() else 1) * 1024**4,
        "price_per_tb_traffic": price(1.0 if location != "sin" else 7.4),
    }


def _image(
    key: int, name: str, description: str, flavour: str, version: str, arch: str, deprecated: str | None
) -> Item:
    return {
        "id": key,
        "type": "system",
        "status": "available",
        "name": name,
        "description": description,
        "image_size": None,
        "disk_size": 5,
        "created": "2025-08-12T06:00:00+00:00",
        "created_from": None,
        "bound_to": None,
        "os_flavor": flavour,
        "os_version": version,
        "architecture": arch,
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": deprecated,
        "deleted": None,
        "labels": {},
    }
