"""Networks by what they cover, not by how they are written: two halves of the internet are the internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(word: str) -> Network:
    """An address or a network, with or without bits beyond its prefix."""
    return ipaddress.ip_network(word.strip(), strict=False)


def outside(words: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """Those of `words` that `allowed` together do not cover whole, as they are written."""
    whole = _merged(map(network, allowed))
    return sorted(word for word in words if not _covered(network(word), whole))


def _merged(networks: Iterable[Network]) -> list[Network]:
    """As few as say the same."""
    found = list(networks)
    four = [one for one in found if isinstance(one, ipaddress.IPv4Network)]
    six = [one for one in found if isinstance(one, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]


def _covered(one: Network, whole: list[Network]) -> bool:
    # what is covered together is covered by one of them, once neighbours are merged
    return any(
        one.version == other.version
        and int(other.network_address) <= int(one.network_address)
        and int(one.broadcast_address) <= int(other.broadcast_address)
        for other in whole
    )
