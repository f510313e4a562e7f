"""What the provider says of a stack's machines: where they stand, and what its firewall lets in.

Asked with a token where one is at hand (`make verify` sets it where the stack's passphrase is there; one that may only
read does, too). It comes by the environment and is taken out of it at once, so that no program started from here
inherits it. Nothing is changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from bastide.machines import Machine
from bastide.provider import UPSTREAM_ENDPOINT, Access
from tests.verify.openings import PORTS, Area, Span, areas, everything, spans
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.world import NotSeen, World

if TYPE_CHECKING:
    from hcloud.firewalls.domain import FirewallRule

NOT_ASKED = "the provider's API was not asked: no token is at hand here (BASTIDE_PROVIDER_TOKEN)"
_SECONDS = 10.0

_token = SecretStr(os.environ.pop("BASTIDE_PROVIDER_TOKEN", ""))
_endpoint = os.environ.pop("BASTIDE_PROVIDER_ENDPOINT", "") or UPSTREAM_ENDPOINT
_once = Once()


@dataclass(frozen=True)
class Told:
    """What the API says of one machine.

    `location` as "fsn1", `country` (ISO 3166-1 alpha-2) and `zone` of it; `addresses` are the public ones; `rules` all
    rules of the firewalls that are in force for it, None when there is no such firewall.
    """

    location: str
    country: str
    zone: str
    addresses: tuple[str, ...]
    rules: list[FirewallRule] | None = field(default=None)


@probe()
def told(world: World, machine: Machine) -> tuple[str, Told | None]:
    """`asked`, as a probe."""
    shown, found = asked(world, machine)
    return shown or "# the provider's API was not asked", found


def asked(world: World, machine: Machine) -> tuple[str, Told | None]:
    """What the provider's API says of a machine; None when it was not asked, or is not the machine's provider."""
    if not _token.get_secret_value() or machine.provider == "existing":
        return "", None
    servers, rules = _once(world.stack, _all)
    server = next((one for one in servers if str(one.id) == machine.id), None)
    if server is None:
        raise NotSeen(f"the provider knows no server {machine.id} ({machine.name})", "is the token of this project?")
    net, place = server.public_net, server.location
    applied = {one.firewall.id for one in net.firewalls if one.status == one.STATUS_APPLIED}
    return f"curl https://{urlsplit(_endpoint).hostname}/v1/{{servers/{machine.id},firewalls}}", Told(
        location=place.name,
        country=place.country,
        zone=place.network_zone,
        addresses=tuple(one.ip for one in (net.ipv4, net.ipv6) if one),
        rules=[rule for number in sorted(applied) for rule in rules[number]] if applied else None,
    )


def let_in(rules: list[FirewallRule] | None, protocol: str, family: str) -> list[Area]:
    """What a firewall of the provider's lets in from outside (docs.hetzner.cloud, "Firewalls"): what any rule names."""
    if rules is None:
        return [Area(everything(family), PORTS)]
    found: list[Area] = []
    for rule in rules:
        if rule.direction == "in" and rule.protocol == protocol:
            found += areas(spans(rule.source_ips, family), [_ports(rule.port)])
    return found


def _ports(word: str | None) -> Span:
    """ "80", "80-85"; everything else is every port."""
    first, _, last = (word or "any").partition("-")
    return (int(first), int(last or first)) if first.isdigit() and (last or first).isdigit() else PORTS


def _all() -> tuple[list[Any], dict[Any, list[FirewallRule]]]:
    """All servers of the project, and the rules of its firewalls by number. Raises `NotSeen` without an answer."""
    # who has no token need not wait for the client to be imported
    import hcloud
    import requests

    from bastide.provider_api import provider_api

    api = provider_api(Access(_endpoint, _token.get_secret_value()), seconds=_SECONDS)
    try:
        return list(api.servers.get_all()), {one.id: list(one.rules or ()) for one in api.firewalls.get_all()}
    except hcloud.APIException as error:
        raise NotSeen(f"{_endpoint} answers {error.code}", "is BASTIDE_PROVIDER_TOKEN of this project?") from None
    except (hcloud.HCloudException, requests.RequestException):
        raise NotSeen(f"{_endpoint} does not answer", "has the provider a fault?") from None
