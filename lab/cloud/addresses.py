"""Which addresses are given out: public ones from the machine side's pools, private ones from a network's subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import chain

from lab.cloud.errors import ApiError, invalid_input, limit_exceeded
from lab.cloud.state import Record, Tables

# where the cloud begins in the pools; what lies before belongs to the lab itself (lab.backend.Machines)
_FIRST_V4 = 10
_FIRST_V6 = 16
# 172.31.1.1 is the gateway of the public interface (docs.hetzner.com, "Networks FAQ")
_RESERVED = ipaddress.IPv4Address("172.31.1.1")


def next_public4(tables: Tables, pool: str) -> str:
    """A free public IPv4 address. Goes round the pool, so that an address rests before it is given out again."""
    network = ipaddress.IPv4Network(pool)
    taken = {record["ip"] for record in tables.primary_ips.values()}
    for index in _round(tables, "public4", _FIRST_V4, network.num_addresses - 1):
        if (address := str(network[index])) not in taken:
            return address
    raise limit_exceeded(f"no free IPv4 address in {pool}", "primary_ip_limit")


def next_public6(tables: Tables, pool: str) -> str:
    """A free public /64, as "2001:db8:1:10::/64"."""
    network = ipaddress.IPv6Network(pool)
    taken = {record["ip"] for record in tables.primary_ips.values()}
    for index in _round(tables, "public6", _FIRST_V6, 1 << (64 - network.prefixlen)):
        prefix = f"{network[index << 64]}/64"
        if prefix not in taken:
            return prefix
    raise limit_exceeded(f"no free /64 in {pool}", "primary_ip_limit")


def public_mac(server: int) -> str:
    """The MAC address of a server's public interface: fixed by its id, locally administered (IEEE 802, 0x02 set)."""
    return "96:00:" + (server & 0xFFFFFFFF).to_bytes(4, "big").hex(":")


def private_mac(server: int, network: int) -> str:
    """The MAC address of a server's interface in a network: fixed by both ids, which are counted from 1001 up."""
    return "86:" + ((server & 0xFFFFF) << 20 | network & 0xFFFFF).to_bytes(5, "big").hex(":")


def gateway(network: Record) -> str:
    """The first address of a network's range is its gateway (docs.hetzner.com, "Networks FAQ")."""
    return str(ipaddress.IPv4Network(network["ip_range"])[1])


def private_address(
    tables: Tables, network: Record, zone: str, wanted: str | None = None, within: str | None = None
) -> str:
    """A private address for a server in `zone` ("eu-central"): `wanted`, or the first free one of its subnets.

    `within` is the range of the one subnet to choose from. Raises `no_subnet_available`, `ip_not_available`, or
    `invalid_input` when `wanted` lies outside.
    """
    subnets = [
        ipaddress.IPv4Network(subnet["ip_range"])
        for subnet in network["subnets"]
        if subnet["network_zone"] == zone and within in (None, subnet["ip_range"])
    ]
    if not subnets:
        where = f"the range {within}" if within else f"network zone {zone}"
        raise ApiError(422, "no_subnet_available", f"network {network['id']} has no subnet for {where}")
    used = used_addresses(tables, network)
    if wanted is not None:
        address = _address(wanted)
        home = next((subnet for subnet in subnets if address in subnet), None)
        if home is None:
            raise invalid_input("ip", f"{wanted} is not in a subnet of network {network['id']}")
        if wanted in used or not _usable(address, home):
            raise ApiError(422, "ip_not_available", f"{wanted} is already used or reserved")
        return str(address)
    for subnet in subnets:
        for address in subnet.hosts():
            if str(address) not in used and _usable(address, subnet):
                return str(address)
    raise ApiError(422, "no_subnet_available", f"no free address in the subnets of network {network['id']}")


def used_addresses(tables: Tables, network: Record) -> set[str]:
    """All addresses that are taken in a network: the gateway's, the servers' and their aliases."""
    used = {gateway(network)}
    for server in tables.servers.values():
        for nic in server["private_net"]:
            if nic["network"] == network["id"]:
                used.update([nic["ip"], *nic["alias_ips"]])
    return used


def check_aliases(tables: Tables, network: Record, aliases: list[str], own: list[str]) -> None:
    """Raise when one of these alias addresses cannot be had; `own` are the ones that the server has already."""
    used = used_addresses(tables, network) - set(own)
    ranges = [ipaddress.IPv4Network(subnet["ip_range"]) for subnet in network["subnets"]]
    for alias in aliases:
        address = _address(alias, "alias_ips")
        if not any(address in subnet for subnet in ranges):
            raise invalid_input("alias_ips", f"{alias} is not in a subnet of network {network['id']}")
        if alias in used or aliases.count(alias) > 1:
            raise ApiError(422, "ip_not_available", f"{alias} is already used")


def _address(text: str, field: str = "ip") -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise invalid_input(field, f"'{text}' is not an IPv4 address") from None


def _usable(address: ipaddress.IPv4Address, subnet: ipaddress.IPv4Network) -> bool:
    return address not in (subnet.network_address, subnet.broadcast_address, _RESERVED)


def _round(tables: Tables, name: str, first: int, end: int) -> Iterator[int]:
    """All numbers from `first` to before `end`, beginning after the one that was taken last time."""
    start = tables.cursors.get(name, first)
    for number in chain(range(start, end), range(first, min(start, end))):
        tables.cursors[name] = number + 1
        yield number
