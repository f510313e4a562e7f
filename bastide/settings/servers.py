"""`settings.servers`: which machines there are, what each is for and where it stands."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from bastide.settings.common import Address4, Area, HostKey, Name, PublicAddress4, PublicAddress6

Role = Literal["primary", "standby", "witness"]
Provider = Literal["hetzner", "existing"]


@dataclass(frozen=True)
class Location:
    """A place with machines. `country` is ISO 3166-1 alpha-2, `network_zone` is Hetzner's ("" elsewhere)."""

    city: str
    country: str
    country_name: str
    network_zone: str = ""


# docs.hetzner.com/cloud/general/locations, those inside the EU: a machine elsewhere breaks the page's first claim.
EU_LOCATIONS = {
    "fsn1": Location("Falkenstein", "DE", "Germany", "eu-central"),
    "nbg1": Location("Nuremberg", "DE", "Germany", "eu-central"),
    "hel1": Location("Helsinki", "FI", "Finland", "eu-central"),
}
_ELSEWHERE = {"ash": "the United States", "hil": "the United States", "sin": "Singapore"}

# the member states by ISO 3166-1 alpha-2 (european-union.europa.eu, "EU countries"; the EU itself writes EL for GR)
EU_COUNTRIES = {
    "AT": "Austria", "BE": "Belgium", "BG": "Bulgaria", "CY": "Cyprus", "CZ": "Czechia", "DE": "Germany",
    "DK": "Denmark", "EE": "Estonia", "ES": "Spain", "FI": "Finland", "FR": "France", "GR": "Greece", "HR": "Croatia",
    "HU": "Hungary", "IE": "Ireland", "IT": "Italy", "LT": "Lithuania", "LU": "Luxembourg", "LV": "Latvia",
    "MT": "Malta", "NL": "the Netherlands", "PL": "Poland", "PT": "Portugal", "RO": "Romania", "SE": "Sweden",
    "SI": "Slovenia", "SK": "Slovakia",
}  # fmt: skip


def _eu_location(value: str) -> str:
    if value in _ELSEWHERE:
        raise ValueError(f"lies in {_ELSEWHERE[value]}, outside the EU; use one of {', '.join(EU_LOCATIONS)}")
    if value not in EU_LOCATIONS:
        raise ValueError(f"must be one of {', '.join(EU_LOCATIONS)}")
    return value


def _eu_country(value: str) -> str:
    if value not in EU_COUNTRIES:
        raise ValueError("must be a country of the EU by its ISO 3166-1 code in capitals, like FR")
    return value


def _city(value: str) -> str:
    if not re.fullmatch(r"[^\W\d_]([^\W\d_]|[ .'-]){0,39}", value):
        raise ValueError("must be the name of a city, at most 40 characters")
    return value


def _provider(value: object) -> object:
    if value not in ("hetzner", "existing"):
        raise ValueError("must be hetzner or existing")
    return value


class Server(Area):
    """One server that `pulumi up` makes. Its name is its key in `settings.servers`."""

    provider: Annotated[Literal["hetzner"], BeforeValidator(_provider)] = "hetzner"
    """Who makes it: `pulumi up` at hetzner, or somebody else (existing); then only its deploys and checks are ours."""
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
    mesh_address: Address4 | None = None
    """Its address in the mesh (wireguard.range); by itself the place in it that private_address has in its subnet."""
    generation: Annotated[int, Field(ge=1)] = 1
    """Raise it by one when the server is to be replaced: the new one gets another bootstrap host key."""

    @property
    def place(self) -> Location:
        """Where it stands."""
        return EU_LOCATIONS[self.location]


class ExistingServer(Area):
    """One server that somebody else made. It has no private address and no cloud firewall in front of it."""

    provider: Literal["existing"]
    """Who makes it: `pulumi up` at hetzner, or somebody else (existing); then only its deploys and checks are ours."""
    role: Role
    """primary and standby carry everything, the witness only votes and looks from outside."""
    hoster: Annotated[str, Field(min_length=2, max_length=40)]
    """Existing only: whose machine it is, as the security page names it."""
    city: Annotated[str, AfterValidator(_city)]
    """Existing only: the city that it stands in, by its owner's word."""
    country: Annotated[str, AfterValidator(_eu_country)]
    """Existing only: the country of the EU that it stands in, by its ISO 3166-1 code."""
    address: PublicAddress4
    """Existing only: its public IPv4 address."""
    address6: PublicAddress6 | None = None
    """Existing only: its public IPv6 address; leave it out when it has none."""
    host_key: HostKey
    """Existing only: its public ed25519 ssh host key. No other is ever accepted, at the first connection neither."""
    user: Name
    """Existing only: who logs in first, with the automation key, root by sudo. Is locked unless declared in users."""
    mesh_address: Address4 | None = None
    """Its address in the mesh (wireguard.range); by itself the place in it that private_address has in its subnet."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """Existing only: the port of its ssh server before the first deploy."""

    @property
    def place(self) -> Location:
        """Where its owner says it stands."""
        return Location(self.city, self.country, EU_COUNTRIES[self.country])

    @property
    def location(self) -> str:
        """Its place as one word: a group in the inventory."""
        return f"{self.country}-{re.sub('[^a-z]+', '-', self.city.casefold()).strip('-')}".lower()

    @property
    def id(self) -> str:
        """What stands for a provider's id: another host key is another machine."""
        return f"existing_{hashlib.sha256(self.host_key.encode()).hexdigest()[:12]}"


def kind_of(value: Any) -> Provider:  # noqa: ANN401 - whatever stands in the file
    """Which model a server is judged by: a mistyped provider is Hetzner's, whose error names both."""
    given = value.get("provider") if isinstance(value, Mapping) else getattr(value, "provider", None)
    return "existing" if given == "existing" else "hetzner"


AnyServer = Annotated[
    Annotated[Server, Tag("hetzner")] | Annotated[ExistingServer, Tag("existing")], Discriminator(kind_of)
]


def belongs_to_other(kind: str, key: str) -> str:
    """The sentence on a key that a server of this kind does not have and one of the other has; "" for any other key."""
    mine, other = (ExistingServer, Server) if kind == "existing" else (Server, ExistingServer)
    if key in mine.model_fields or key not in other.model_fields:
        return ""
    return f"belongs to servers of provider {'hetzner' if kind == 'existing' else 'existing'}, this one is {kind}"
