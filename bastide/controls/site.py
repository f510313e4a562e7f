"""Where the servers stand."""

from __future__ import annotations

from collections.abc import Sequence

from bastide.controls.model import WEEK, Control, count, join, two_sites
from bastide.machines import Inventory, Machine
from bastide.settings import Settings

CONTROLS = (
    Control(
        "site-01",
        "Location of the servers",
        "All {machines} stand in the European Union: {places}.",
        "Where a server stands decides whose law applies to it. The provider names the place: by its API where that "
        "was asked, else by what it tells the server; the proof says who was asked.",
        max_age=WEEK,
        claims=(113, 117),
    ),
    Control(
        "site-02",
        "Two countries",
        "The primary and the standby stand in two countries: {sites}.",
        "What takes down one data centre, or one country's network, does not take down the other. "
        "The provider names the places, as above.",
        max_age=WEEK,
        roles=("primary", "standby"),
        needs=two_sites,
        claims=(95,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    sites = [machine for machine in inventory if machine.role != "witness"]
    return {
        "machines": count(len(inventory.machines), "server"),
        "places": join(_places(inventory.machines)),
        "sites": join(dict.fromkeys(machine.place.country_name for machine in sites)),
    }


def _places(machines: Sequence[Machine]) -> list[str]:
    cities: dict[str, list[str]] = {}
    for machine in machines:
        place = machine.place
        if place.city not in cities.setdefault(place.country_name, []):
            cities[place.country_name].append(place.city)
    return [f"{country} ({join(sorted(names))})" for country, names in sorted(cities.items())]
