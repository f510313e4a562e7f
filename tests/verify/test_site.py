"""Where the machines stand, by what the provider's API says of each, and what it tells each of them; what is only
declared is not proven."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bastide.machines import Inventory, Machine
from bastide.settings import EU_LOCATIONS
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import site
from tests.verify.probes.provider import NOT_ASKED
from tests.verify.probes.site import Place
from tests.verify.probes.world import Observation


def _places(observation: Observation, machine: Machine, note: Callable[[str], None]) -> dict[str, tuple[str, str]]:
    """The region and the location ("fsn1" of "fsn1-dc14") by who says so: the provider's API, where it was asked, and
    the machine, which has it from the provider's metadata service.

    Of a machine that somebody else made the stack file is the only source, and a declaration proves nothing.
    """
    if machine.provider == "existing":
        place = f"{machine.place.city}, {machine.place.country_name}"
        not_provable_here(f"it is a machine of {machine.hoster}; that it stands in {place}, is a declaration")
    seen: Place = observation.data
    lines = [line.strip() for line in seen.metadata.splitlines() if line.strip()]
    assert len(lines) == 2, "the metadata service does not say where the machine stands"
    found = {"the machine": (lines[0], lines[1].partition("-")[0])}
    if seen.told is None:
        note(f"the machine was asked; {NOT_ASKED}")
        return found
    assert machine.address in seen.told.addresses, f"the provider's API has server {machine.id} at another address"
    note("the provider's API was asked, and the machine")
    return {"the provider": (seen.told.zone, seen.told.location), **found}


@pytest.mark.control("site-01")
@pytest.mark.probe(site.place)
def test_stands_where_it_was_ordered(observation: Observation, machine: Machine, note: Callable[[str], None]) -> None:
    """The provider names the declared location, which lies in the European Union."""
    wrong = []
    for who, (region, location) in _places(observation, machine, note).items():
        note(f"{who}: {location} in {region}")
        if location not in EU_LOCATIONS:
            wrong.append(f"it stands in {location}, which is not a location in the EU ({who} says so)")
        if location != machine.location:
            wrong.append(f"it stands in {location}, declared is {machine.location} ({who} says so)")
        if location in EU_LOCATIONS and region != EU_LOCATIONS[location].network_zone:
            wrong.append(f"it stands in the region {region} ({who} says so)")
    judge(wrong)


@pytest.mark.control("site-02")
@pytest.mark.probe(site.place)
def test_sites_are_in_two_countries(
    observation: Observation, machine: Machine, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """It stands in another country than its counterpart."""
    others = {m.place.country_name for m in inventory if m.role not in (machine.role, "witness")}
    wrong = []
    for who, (_, location) in _places(observation, machine, note).items():
        if location not in EU_LOCATIONS:
            wrong.append(f"it stands in {location}, which is not a location in the EU ({who} says so)")
            continue
        country = EU_LOCATIONS[location].country_name
        note(f"{who}: {country}; the counterpart: {', '.join(sorted(others))}")
        if not others - {country}:
            wrong.append(f"both stand in {country} ({who} says so)")
    judge(wrong)
