"""Which names lead here."""

from __future__ import annotations

from bastide.controls.model import Control, join, zones
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "dns-01",
        "Addresses of the sites",
        "Every name server of {zones} gives both sites' IPv4 and IPv6 addresses for {names}, and no others.",
        "Either site can be found when the other is down, and none of these names leads to a server that is not ours.",
        roles=("primary", "standby"),
        claims=(28, 117),
        needs=zones,
    ),
    Control(
        "dns-02",
        "Who may issue certificates",
        "Records at every name server say who alone may issue certificates: {issuers}.",
        "Certificate authorities must look there first, and refuse everybody else's order (RFC 8659). Asked for each "
        "zone and each name in it that is declared.",
        roles=("primary",),
        claims=(11,),
        needs=zones,
    ),
    Control(
        "dns-03",
        "Reverse names",
        "The addresses of all {machines} have their names in reverse DNS, which lead back, over IPv4 and IPv6.",
        "Who meets one of our addresses can see whose it is; mail and abuse desks look there.",
        claims=(117,),
        needs=zones,
    ),
    Control(
        "dns-04",
        "Declared records",
        "Every name server of {zones} gives the same version of it, and each further record as it is declared.",
        "Records decide who may send mail in the company's name; one that was changed by hand turns this off. Names "
        "and kinds that nobody declared are not asked for.",
        roles=("primary",),
        claims=(117,),
        needs=zones,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with. Without zones nothing is proven, and the sentences are not printed."""
    zones = settings.dns.zones if settings.dns else {}
    leading = [name if owner == "@" else f"{owner}.{name}" for name, zone in zones.items() for owner in zone.sites]
    issuers = [f"{join(zone.caa.issuers) or 'nobody'} for {name}" for name, zone in zones.items()]
    return {
        "zones": join(zones) or "no zone",
        "names": join(leading) or "no name",
        "issuers": join(issuers) or "nobody",
    }
