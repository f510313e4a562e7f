"""`settings.servers`: which machines there are, what each is for and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bastide.settings.common import Address4, Area

Role = Literal["primary", "standby", "witness"]


@dataclass(frozen=True)
class Location:
    """A place where the provider has machines. `country` is ISO 3166-1 alpha-2."""

    city: str
    country: str
    country_name: str
    network_zone: str


# docs.hetzner.com/cloud/general/locations, those inside the EU: a machine elsewhere breaks the page's first claim.
EU_LOCATIONS = {
    "fsn1": Location("Falkenstein", "DE", "Germany", "eu-central"),
    "nbg1": Location("Nuremberg", "DE", "Germany", "eu-central"),
    "hel1": Location("Helsinki", "FI", "Finland", "eu-central"),
}
_ELSEWHERE = {"ash": "the United States", "hil": "the United States", "sin": "Singapore"}


def _eu_location(value: str) -> str:
    if value in _ELSEWHERE:
        raise ValueError(f"lies in {_ELSEWHERE[value]}, outside the EU; use one of {', '.join(EU_LOCATIONS)}")
    if value not in EU_LOCATIONS:
        raise ValueError(f"must be one of {', '.join(EU_LOCATIONS)}")
    return value


class Server(Area):
    """One server. Its name is its key in `settings.servers`."""

    role: Role
    """primary and standby carry everything, the witness only votes and looks from outside."""
    location: Annotated[str, AfterValidator(_eu_location)]
    """The provider's location: fsn1, nbg1 (Germany) or hel1 (Finland)."""
    type: Annotated[str, Field(pattern=r"^[a-z]{2,4}[0-9]{2}$")] = "cx23"
    """The provider's server type."""
    image: Annotated[str, Field(pattern=r"^debian-13$")] = "debian-13"
    """The provider's image. A change here replaces no server; it holds for servers made from now on."""
    private_address: Address4
    """Its address in the private network's subnet."""
    generation: Annotated[int, Field(ge=1)] = 1
    """Raise it by one when the server is to be replaced: the new one gets another bootstrap host key."""
