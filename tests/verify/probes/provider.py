"""What the provider says of a stack's machines: where they stand, and what its firewall lets in.

Asked with a token where one is at hand (`make verify` sets it where the stack's passphrase is there; one that may only
read does, too). It comes by the environment and is taken out of it at once, so that no program started from here
inherits it. Nothing is changed.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from bastide.machines import Machine
from bastide.provider import UPSTREAM_ENDPOINT
from tests.verify.openings import PORTS, Area, Span, areas, everything, spans
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.world import NotSeen, World

NOT_ASKED = "the provider's API was not asked: no token is at hand here (BASTIDE_PROVIDER_TOKEN)"
_SECONDS = 15.0
_PAGE = 50  # docs.hetzner.cloud, "Pagination": the largest page

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
    rules: list[dict[str, Any]] | None = field(default=None)


@probe()
def told(world: World, machine: Machine) -> tuple[str, Told | None]:
    """`asked`, as a probe."""
    shown, found = asked(world, machine)
    return shown or "# the provider's API was not asked", found


def asked(world: World, machine: Machine) -> tuple[str, Told | None]:
    """What the provider's API says of a machine; None when it was not asked, or is not the machine's provider."""
    if not _token.get_secret_value() or machine.provider == "existing":
        return "", None
    servers, firewalls = _once(world.stack, lambda: (_all("servers"), _all("firewalls")))
    server = next((one for one in servers if str(one["id"]) == machine.id), None)
    host = urlsplit(_endpoint).hostname
    if server is None:
        raise NotSeen(f"the provider knows no server {machine.id} ({machine.name})", "is the token of this project?")
    net = server["public_net"]
    applied = {one["id"] for one in net["firewalls"] if one["status"] == "applied"}
    rules = [rule for one in firewalls if one["id"] in applied for rule in one["rules"]] if applied else None
    place = server.get("location") or server["datacenter"]["location"]
    return f"curl https://{host}/v1/{{servers/{machine.id},firewalls}}", Told(
        location=place["name"],
        country=place["country"],
        zone=place["network_zone"],
        addresses=tuple(net[kind]["ip"] for kind in ("ipv4", "ipv6") if net[kind]),
        rules=rules,
    )


def let_in(rules: list[dict[str, Any]] | None, protocol: str, family: str) -> list[Area]:
    """What a firewall of the provider's lets in from outside (docs.hetzner.cloud, "Firewalls"): what any rule names."""
    if rules is None:
        return [Area(everything(family), PORTS)]
    found: list[Area] = []
    for rule in rules:
        if rule["direction"] == "in" and rule["protocol"] == protocol:
            found += areas(spans(rule["source_ips"], family), [_ports(rule.get("port"))])
    return found


def _ports(word: str | None) -> Span:
    """ "80", "80-85"; everything else is every port."""
    first, _, last = (word or "any").partition("-")
    return (int(first), int(last or first)) if first.isdigit() and (last or first).isdigit() else PORTS


def _all(what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: int | None = 1
    while page:
        data = _get(f"/{what}?per_page={_PAGE}&page={page}")
        found += data[what]
        page = data["meta"]["pagination"]["next_page"]
    return found


def _get(path: str) -> dict[str, Any]:
    """One request. Raises `NotSeen` without an answer."""
    request = urllib.request.Request(_endpoint + path)
    request.add_header("Authorization", f"Bearer {_token.get_secret_value()}")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            return dict(json.loads(response.read()))
    except urllib.error.HTTPError as error:
        raise NotSeen(f"{_endpoint} answers {error.code}", "is BASTIDE_PROVIDER_TOKEN of this project?") from None
    except (OSError, ValueError):
        raise NotSeen(f"{_endpoint} does not answer", "has the provider a fault?") from None
