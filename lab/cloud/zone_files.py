"""Zones as text (RFC 1035, section 5): what is exported, imported, and given to the name servers."""

from __future__ import annotations

from collections.abc import Iterator

import dns.exception
import dns.name
import dns.rdatatype
import dns.zone

from lab.cloud.errors import invalid_input
from lab.cloud.state import Record


def zone_file(zone: Record) -> str:
    """A zone's whole file. The SOA record comes first, as name servers want it."""
    lines = [f"$ORIGIN\t{zone['name']}.", f"$TTL\t{zone['ttl']}"]
    for rrset in sorted(zone["rrsets"].values(), key=lambda one: (one["type"] != "SOA", one["name"], one["type"])):
        ttl = zone["ttl"] if rrset["ttl"] is None else rrset["ttl"]
        lines += [f"{rrset['name']}\t{ttl}\tIN\t{rrset['type']}\t{record['value']}" for record in rrset["records"]]
    return "\n".join(lines) + "\n"


def read_zone_file(name: str, text: str) -> Iterator[tuple[str, str, int, list[str]]]:
    """The record sets of a file as (name, type, ttl, values), without SOA and without the zone's own NS.

    Raises `invalid_input` when the file cannot be understood.
    """
    origin = dns.name.from_text(name)
    try:
        found = dns.zone.from_text(text, origin=origin, relativize=True, check_origin=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise invalid_input("zonefile", f"cannot be read: {error}") from None
    for owner, rdataset in found.iterate_rdatasets():
        kind = dns.rdatatype.to_text(rdataset.rdtype)
        if kind == "SOA" or (kind == "NS" and str(owner) == "@"):
            continue
        yield str(owner), kind, rdataset.ttl, [rdata.to_text(origin=origin, relativize=True) for rdata in rdataset]
