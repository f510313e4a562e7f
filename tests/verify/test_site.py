"""Where the machines stand, by what the provider tells each of them; what is only declared is not proven."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bastide.machines import Inventory, Machine
from bastide.settings import EU_LOCATIONS
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.probes import site
from tests.verify.probes.world import Observation


def _place(observation: Observation, machine: Machine) -> tuple[str, str]:
    """The region and the location ("fsn1" of "fsn1-dc14") that the metadata service names.

    Of a machine that somebody else made the stack file is the only source, and a declaration proves nothing.
    """
    if machine.provider == "existing":
        place = f"{machine.place.city}, {machine.place.country_name}"
        not_provable_here(f"it is a machine of {machine.hoster}; that it stands in {place}, is a declaration")
    lines = [line.strip() for line in observation.data.text.splitlines() if line.strip()]
    assert len(lines) == 2, "the metadata service does not say where the machine stands"
    return lines[0], lines[1].partition("-")[0]


@pytest.mark.control("site-01")
@pytest.mark.probe(site.metadata)
def test_stands_where_it_was_ordered(observation: Observation, machine: Machine, note: Callable[[str], None]) -> None:
    """The provider's metadata names the declared location, which lies in the European Union."""
    region, location = _place(observation, machine)
    note(f"{location} in {region}")
    assert location in EU_LOCATIONS, f"it stands in {location}, which is not a location in the EU"
    assert location == machine.location, f"it stands in {location}, declared is {machine.location}"
    assert region == EU_LOCATIONS[location].network_zone, f"it stands in the region {region}"


@pytest.mark.control("site-02")
@pytest.mark.probe(site.metadata)
def test_sites_are_in_two_countries(
    observation: Observation, machine: Machine, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """It stands in another country than its counterpart."""
    _, location = _place(observation, machine)
    assert location in EU_LOCATIONS, f"it stands in {location}, which is not a location in the EU"
    country = EU_LOCATIONS[location].country_name
    others = {m.place.country_name for m in inventory if m.role not in (machine.role, "witness")}
    note(f"{country}; the counterpart: {', '.join(sorted(others))}")
    assert others - {country}, f"both stand in {country}"
