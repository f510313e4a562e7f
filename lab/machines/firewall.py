"""The router's rules as text: cloud firewalls, anti-spoofing and the router's half of the seal. Pure.

The whole table is written anew at each change and loaded in one transaction; connection tracking lives on, so that
established connections are not lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from lab.backend import FirewallRule
from lab.machines.trouble import DEVICES, Rules
from lab.place import METADATA, METADATA6, OPERATOR4, OPERATOR6

TABLE = "lab"
UPLINK = "up0"


@dataclass(frozen=True)
class Port:
    """A machine's public port at the router: its addresses ("" = none; `public6` is a /64) and firewall rules."""

    name: str
    public4: str
    public6: str
    rules: tuple[FirewallRule, ...] | None


def router_rules(
    ports: Sequence[Port],
    resolvers: Sequence[str],
    proxied: Sequence[tuple[str, int]],
    services: Sequence[tuple[str, str, int]] = (),
    troubles: Rules | None = None,
) -> str:
    """The rule file of the router.

    `resolvers` are the addresses at which the router answers DNS, `proxied` the (address, TCP port) pairs at which
    the proxy listens for package mirrors, `services` the (address, protocol, port) triples of the lab's services,
    which the host reaches, too. Nothing else leaves the lab: a machine reaches other machines, as their firewalls let
    it, and the host only in answer to the host. `troubles` are cut and delayed ways; a delayed packet passes twice:
    once towards the relay, where all firewalls judge it as if it went to its target, and once from there, seen by
    nobody.
    """
    troubles = troubles or Rules()
    names = ", ".join(f'"{port.name}"' for port in ports)
    chains: list[str] = []
    outbound: list[str] = []
    inbound: list[str] = []
    for port in ports:
        for direction, jumps, side in (("out", outbound, "iifname"), ("in", inbound, "oifname")):
            if port.rules is None or (direction == "out" and not any(rule.direction == "out" for rule in port.rules)):
                continue
            chain = f"{direction}_{port.name}"
            jumps.append(f'{side} "{port.name}" jump {chain}')
            if direction == "in":
                jumps += [
                    f'oifname "{way.device}" jump {chain}' for way in troubles.ways if way.target.port == port.name
                ]
            chains += [f"chain {chain} {{", *_firewall(port.rules, direction), "drop", "}"]
    allowed = ", ".join(f"{address} . {number}" for address, number in proxied)
    lines = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        *chains,
        *troubles.chains(),
        "chain spoof {",
        "type filter hook prerouting priority raw; policy drop;",
        'iifname "lo" accept',
        # connection tracking has seen what comes back from the relay: twice would be once too often for a RST
        f'iifname "{DEVICES}*" notrack accept',
        # neighbour discovery and duplicate address detection speak from link-local addresses and from ::
        "ip6 saddr { fe80::/10, :: } meta l4proto ipv6-icmp accept",
        f"ip6 saddr fe80::/10 ip6 daddr {METADATA6} tcp dport 80 accept",
        # the host itself asks for its neighbour from its own address
        f'iifname "{UPLINK}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept',
        f'iifname "{UPLINK}" ip saddr {OPERATOR4} accept',
        f'iifname "{UPLINK}" ip6 saddr {OPERATOR6} accept',
        *(f'iifname "{port.name}" ip saddr {port.public4} accept' for port in ports if port.public4),
        *(f'iifname "{port.name}" ip6 saddr {port.public6} accept' for port in ports if port.public6),
        "}",
        "chain forward {",
        "type filter hook forward priority filter; policy drop;",
        "jump cut",
        "ct state invalid drop",
        "ct state established,related accept",
        # towards the host: only what answers it
        f'oifname "{UPLINK}" drop',
        # judged on its way to the relay
        f'iifname "{DEVICES}*" accept',
        *outbound,
        *inbound,
        *(
            [
                f'iifname {{ "{UPLINK}", {names} }} oifname {{ {names} }} accept',
                f'iifname {{ {names} }} oifname "{DEVICES}*" accept',
            ]
            if ports
            else []
        ),
        "}",
        "chain input {",
        "type filter hook input priority filter; policy drop;",
        "jump cut",
        'iifname "lo" accept',
        "ct state established,related accept",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, echo-request } accept",
        "icmp type echo-request accept",
        *(f'iifname "{UPLINK}" {match} accept' for match in _ports_of(services)),
        f'iifname "{UPLINK}" drop',
        f"ip daddr {METADATA} tcp dport 80 accept",
        f"ip6 daddr {METADATA6} tcp dport 80 accept",
        # what stands for the internet is subject to the machine's outbound rules, as the internet would be
        *outbound,
        f"ip daddr {{ {', '.join(resolvers)} }} meta l4proto {{ tcp, udp }} th dport 53 accept",
        *([f"ip daddr . tcp dport {{ {allowed} }} accept"] if proxied else []),
        *(f"{match} accept" for match in _ports_of(services)),
        "}",
        "chain output {",
        "type filter hook output priority filter; policy accept;",
        "jump cut",
        f'oifname "{UPLINK}" ct state new meta l4proto != {{ icmp, ipv6-icmp }} drop',
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _ports_of(services: Sequence[tuple[str, str, int]]) -> list[str]:
    """A match for each port of a service."""
    return [
        f"{'ip6' if ':' in address else 'ip'} daddr {address} {protocol} dport {port}"
        for address, protocol, port in services
    ]


def _firewall(rules: Sequence[FirewallRule], direction: str) -> list[str]:
    """One machine's rules of one direction. A match returns: the other machine's firewall has its say, too."""
    side = "saddr" if direction == "in" else "daddr"
    return [
        f"{networks}{match} return"
        for rule in rules
        if rule.direction == direction
        for networks in _networks(rule.networks, side)
        for match in [_protocol(rule)]
    ]


def _protocol(rule: FirewallRule) -> str:
    if rule.protocol == "icmp":
        return "meta l4proto { icmp, ipv6-icmp }"
    if rule.protocol in ("tcp", "udp") and rule.port:
        return f"{rule.protocol} dport {rule.port}"
    return f"meta l4proto {rule.protocol}"


def _networks(networks: Sequence[str], side: str) -> list[str]:
    """The match for a rule's networks: a line for each address family that it has."""
    parsed = [ip_network(network, strict=False) for network in networks]
    # merged, since nft refuses a set whose ranges overlap
    four = list(collapse_addresses(net for net in parsed if isinstance(net, IPv4Network)))
    six = list(collapse_addresses(net for net in parsed if isinstance(net, IPv6Network)))
    found = []
    if four:
        everything = four[0].prefixlen == 0
        found.append("meta nfproto ipv4 " if everything else f"ip {side} {{ {', '.join(map(str, four))} }} ")
    if six:
        everything = six[0].prefixlen == 0
        found.append("meta nfproto ipv6 " if everything else f"ip6 {side} {{ {', '.join(map(str, six))} }} ")
    return found
