"""Where the cloud has servers, as published in 2026."""

from __future__ import annotations

from functools import cache
from typing import Any

# id, name, description, country, city, latitude, longitude, network zone, availability zone in the metadata
LOCATIONS = (
    (1, "fsn1", "Falkenstein DC Park 1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central", "fsn1-dc14"),
    (2, "nbg1", "Nuremberg DC Park 1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central", "nbg1-dc3"),
    (3, "hel1", "Helsinki DC Park 1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central", "hel1-dc2"),
    (4, "ash", "Ashburn, VA", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east", "ash-dc1"),
    (5, "hil", "Hillsboro, OR", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west", "hil-dc1"),
    (6, "sin", "Singapore", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast", "sin-dc1"),
)


@cache
def locations() -> list[dict[str, Any]]:
    """All locations, as the API shows them."""
    names = ("id", "name", "description", "country", "city", "latitude", "longitude", "network_zone")
    return [dict(zip(names, row[:-1], strict=True)) for row in LOCATIONS]


def availability_zone(location: str) -> str:
    """What a machine at this location reads in its metadata ("fsn1-dc14"): it outlived the datacenters of the API."""
    return next(row[-1] for row in LOCATIONS if row[1] == location)
