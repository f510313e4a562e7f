"""Who may reach which ports, as areas of (source address, port): what is open is compared with what may be, by area."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Span = tuple[int, int]
"""First and last of a range."""
PORTS: Span = (0, 65_535)
_NAMED = 4


@dataclass(frozen=True)
class Area:
    """All packets from a range of addresses (as numbers) to a range of ports."""

    sources: Span
    ports: Span


def everything(family: str) -> Span:
    """All addresses of "ip" or "ip6"."""
    return 0, 2 ** (128 if family == "ip6" else 32) - 1


def spans(networks: Iterable[str], family: str) -> list[Span]:
    """The ranges of those networks that are of this family."""
    found = [ipaddress.ip_network(word, strict=False) for word in networks]
    bits = 6 if family == "ip6" else 4
    return [(int(one.network_address), int(one.broadcast_address)) for one in found if one.version == bits]


def areas(sources: Iterable[Span], ports: Iterable[Span]) -> list[Area]:
    """All combinations."""
    wanted = list(ports)
    return [Area(source, port) for source in sources for port in wanted]


def common(some: Iterable[Area], others: Iterable[Area]) -> list[Area]:
    """What is in both."""
    second = list(others)
    found = []
    for one in some:
        for other in second:
            sources, ports = _shared(one.sources, other.sources), _shared(one.ports, other.ports)
            if sources and ports:
                found.append(Area(sources, ports))
    return found


def without(some: Iterable[Area], others: Iterable[Area]) -> list[Area]:
    """What is in the first and not in the second."""
    left = list(some)
    for other in others:
        left = [part for one in left for part in _cut(one, other)]
    return left


def described(found: Iterable[Area], protocol: str, family: str) -> list[str]:
    """`tcp/22 is open to 10.0.0.0/8`: a text for each range of ports."""
    by_ports: dict[Span, list[Span]] = {}
    for area in found:
        by_ports.setdefault(area.ports, []).append(area.sources)
    return [f"{protocol}/{_ports(ports)} is open to {_sources(by_ports[ports], family)}" for ports in sorted(by_ports)]


def _ports(ports: Span) -> str:
    first, last = ports
    return f"{first}" if first == last else "all" if ports == PORTS else f"{first}-{last}"


def _sources(sources: list[Span], family: str) -> str:
    address = ipaddress.IPv6Address if family == "ip6" else ipaddress.IPv4Address
    every: list[Any] = [
        net for first, last in sources for net in ipaddress.summarize_address_range(address(first), address(last))
    ]
    nets = sorted(map(str, sorted(ipaddress.collapse_addresses(every), key=lambda net: net.prefixlen)[:_NAMED]))
    more = len(list(ipaddress.collapse_addresses(every))) - len(nets)
    return ", ".join(nets) + (f" and {more} other networks" if more else "")


def _shared(one: Span, other: Span) -> Span | None:
    first, last = max(one[0], other[0]), min(one[1], other[1])
    return (first, last) if first <= last else None


def _cut(one: Area, other: Area) -> list[Area]:
    """`one` without `other`: what is below and above it by source, then by port."""
    sources, ports = _shared(one.sources, other.sources), _shared(one.ports, other.ports)
    if not sources or not ports:
        return [one]
    found = [Area(rest, one.ports) for rest in _rest(one.sources, sources)]
    return found + [Area(sources, rest) for rest in _rest(one.ports, ports)]


def _rest(whole: Span, part: Span) -> list[Span]:
    found = [(whole[0], part[0] - 1), (part[1] + 1, whole[1])]
    return [(first, last) for first, last in found if first <= last]
