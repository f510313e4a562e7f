"""The router: a network namespace in which every machine's public cable ends, as in Hetzner's layer 3 network.

Each machine has a /32 and a /64 and one gateway address that is the same for all. The router is also where the
metadata address, the resolvers and the addresses of the package mirrors are, where the proxy listens for them.
"""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, ip_address

from bastide.console import run
from bastide.errors import CommandFailed
from lab.machines import links, seal, trouble
from lab.machines.firewall import TABLE, UPLINK, Port, router_rules
from lab.machines.recipe import RESOLVERS
from lab.machines.store import Record, records
from lab.place import GATEWAY4, GATEWAY6, METADATA, METADATA6, OPERATOR4, OPERATOR6, Place
from lab.registry import locked, read_json, write_json

_SYSCTLS = {
    "ipv4.ip_forward": 1,
    "ipv6.conf.all.forwarding": 1,
    "ipv6.conf.default.accept_dad": 0,
    "ipv4.conf.all.send_redirects": 0,
    "ipv4.conf.default.send_redirects": 0,
}
# origins with a name get addresses beside the gateway's, which nobody else uses
_FIRST_PROXIED = IPv4Address("172.31.1.10")
# named by an older word: the daemon of a lab that stands reads it, too
_PROXIED = "doors.json"


def proxied_addresses(origins: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """The address at which the lab's machines find each origin's host: a literal address stays what it is."""
    found: dict[str, str] = {}
    for host, _ in origins:
        with contextlib.suppress(ValueError):
            if not ip_address(host).is_loopback:
                found[host] = host
                continue
        found.setdefault(host, str(_FIRST_PROXIED + len(found)))
    return found


def ready(here: Place) -> bool:
    """Is the router there, whole, and sealed on both sides?"""
    return (
        links.netns_exists(here.router)
        and bool(proxied(here))
        and seal.closed(here)
        and links.has_table(TABLE, here.router)
        and _finished(here)
    )


def make(here: Place, origins: tuple[tuple[str, int], ...]) -> None:
    """Make the router and its uplink, sealed from the first moment. What is left of an older one goes first.

    `origins` are the (host name or address, TCP port) pairs outside that machines reach through the proxy.
    """
    links.link_delete(here.uplink)
    links.netns_delete(here.router)
    seal.close(here)
    links.netns_make(here.router, _SYSCTLS)
    addresses = proxied_addresses(origins)
    # an address that nobody has is silence, not an error message: as behind a real machine that is off
    links.ip([f"route add blackhole {here.range4}", f"route add blackhole {here.range6}"], here.router)
    write_json(here.folder / _PROXIED, {"doors": [[addresses[host], port, host] for host, port in origins]})
    local = [GATEWAY4, METADATA, *RESOLVERS, *dict.fromkeys(addresses.values())]
    links.ip([f"address add {address}/32 dev lo" for address in local], here.router)
    load_rules(here)
    links.ip(
        [
            f"link add {here.uplink} type veth peer name {UPLINK} netns {here.router}",
            f"link set {here.uplink} addrgenmode none",
            f"address add {here.host4} peer {here.router4}/32 dev {here.uplink}",
            f"link set {here.uplink} up",
        ]
    )
    links.ip(
        [
            f"address add {here.router4} peer {here.host4}/32 dev {UPLINK}",
            f"address add {here.router6}/128 dev {UPLINK} nodad",
            f"link set {UPLINK} up",
            f"route add {OPERATOR4}/32 via {here.host4} dev {UPLINK}",
            f"route add {here.host6}/128 dev {UPLINK}",
            f"route add {OPERATOR6}/128 via {here.host6} dev {UPLINK}",
        ],
        here.router,
    )
    # a host with IPv6 switched off has no use for these
    with contextlib.suppress(CommandFailed):
        links.ip(
            [
                # neighbour discovery wants a link-local address; the kernel's own would be late (detection)
                f"address add fe80::2/64 dev {here.uplink} nodad",
                f"address add {here.host6}/128 dev {here.uplink} nodad",
                f"route add {here.router6}/128 dev {here.uplink}",
                f"route add {here.range6} via {here.router6} dev {here.uplink} src {here.host6}",
            ]
        )
    # last: by this `ready` knows that nothing is missing
    links.ip([f"route add {here.range4} via {here.router4} dev {here.uplink} src {here.host4}"])


def load_rules(here: Place) -> None:
    """Bring the router's rules in line with what is known of the machines. Atomic."""
    with locked(here.folder / ".rules.lock"):
        known = [(record, record.spec()) for record in records(here)]
        ports = [Port(record.port, spec.public4, spec.public6, record.firewall()) for record, spec in known]
        listening = [(address, port) for address, port, _ in proxied(here)]
        ends = {
            spec.name: trouble.End(port.name, _addresses(port)) for (_, spec), port in zip(known, ports, strict=True)
        }
        ends.setdefault(trouble.OPERATOR, trouble.End(UPLINK))
        troubles = trouble.rules(here, ends, service_addresses(here))
        links.nft(router_rules(ports, RESOLVERS, listening, service_ports(here), troubles), here.router)


def proxied(here: Place) -> list[tuple[str, int, str]]:
    """The origins that the proxy passes on to, as (address in the lab, TCP port, host outside)."""
    return [(address, port, host) for address, port, host in read_json(here.folder / _PROXIED).get("doors", [])]


def service_ports(here: Place) -> list[tuple[str, str, int]]:
    """The ports of the lab's services as (address, protocol, port)."""
    known = read_json(here.folder / "parties.json")
    return [(address, protocol, port) for ports in known.values() for address, protocol, port in ports]


def service_addresses(here: Place) -> dict[str, list[str]]:
    """The addresses of the lab's services, by name."""
    known = read_json(here.folder / "parties.json")
    return {name: list(dict.fromkeys(address for address, _, _ in ports)) for name, ports in known.items()}


def plug(record: Record) -> None:
    """Lay the cable between the machine's namespace and the router."""
    spec = record.spec()
    if not spec.public4 and not spec.public6:
        return
    router = record.place.router
    links.ip(
        [
            f"link add {record.port} type veth peer name eth0 netns {record.netns} address {spec.public_mac}",
            f"link set {record.port} addrgenmode none",
            *(f"address add {address}/64 dev {record.port} nodad" for address in (GATEWAY6, METADATA6)),
            f"link set {record.port} up",
            *([f"route replace {spec.public4}/32 dev {record.port}"] if spec.public4 else []),
            *([f"route replace {spec.public6} dev {record.port}"] if spec.public6 else []),
        ],
        router,
    )


def unplug(record: Record) -> None:
    """Pull the public cable."""
    links.link_delete(record.port, record.place.router)


def _finished(here: Place) -> bool:
    """Was `make` not killed on its way? Its last step is the route."""
    found = run(["ip", "route", "show", str(here.range4), "dev", here.uplink], check=False)
    return found.ok and bool(found.stdout.strip())


def _addresses(port: Port) -> tuple[str, ...]:
    return tuple(filter(None, (port.public4, port.public6)))
