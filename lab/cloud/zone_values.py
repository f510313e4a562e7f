"""What may stand in a zone: names of record sets and values of records, judged before they are taken."""

from __future__ import annotations

import re

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass

from lab.cloud.fields import Fields
from lab.cloud.state import Record

TYPES = (
    "A", "AAAA", "CAA", "CNAME", "DS", "HINFO", "HTTPS", "MX", "NS", "PTR", "RP", "SOA", "SRV", "SVCB", "TLSA", "TXT",
)  # fmt: skip
LEAST_TTL, MOST_TTL = 60, 2**31 - 1
MOST_RECORDS = 50

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_ZONE = re.compile(rf"({_LABEL}\.)+{_LABEL}")
# names of hosts, and of services (RFC 8552: _dmarc); a star only as the first label (RFC 4592)
_OWNER = re.compile(r"@|(\*|[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TXT = re.compile(rf"{_QUOTED}( {_QUOTED})*")


def read_zone_name(fields: Fields) -> str:
    """The field `name` of a new zone."""
    name = fields.text("name")
    if name and (len(name) > 253 or not _ZONE.fullmatch(name)):
        fields.wrong("name", "is not a domain name in lower case without a final dot, like example.eu")
    return name


def read_owner(fields: Fields, zone: str) -> str:
    """The field `name` of a record set: relative to the zone, "@" for the zone itself."""
    name = fields.text("name")
    if name and (len(name) + len(zone) > 252 or not _OWNER.fullmatch(name)):
        fields.wrong("name", "must be lower-case labels relative to the zone, without a final dot, or @")
    elif name == zone or name.endswith(f".{zone}"):
        fields.wrong("name", f"must be relative: leave {zone} out, or say @ for the zone itself")
    return name


def read_type(fields: Fields) -> str:
    """The field `type` of a record set."""
    return fields.text("type", choices=TYPES)


def read_ttl(fields: Fields, *, required: bool = False) -> int | None:
    """The field `ttl` in seconds; None when it is not given or null (the zone's)."""
    ttl = fields.number("ttl") if required else fields.maybe_number("ttl")
    if ttl is not None and not LEAST_TTL <= ttl <= MOST_TTL:
        fields.wrong("ttl", f"must be from {LEAST_TTL} to {MOST_TTL}")
    return ttl


def read_records(fields: Fields, kind: str, zone: str) -> list[Record]:
    """The field `records`: at least one, at most 50, each value fit for the type and none twice."""
    found: list[Record] = []
    items = fields.objects("records", required=True)
    if fields.has("records") and not 1 <= len(items) <= MOST_RECORDS:
        fields.wrong("records", f"must be from 1 to {MOST_RECORDS} records")
    for item in items:
        value, comment = item.text("value", longest=16384), item.maybe_text("comment")
        if value and (problem := value_problem(kind, value, zone)):
            item.wrong("value", problem)
        if value in [record["value"] for record in found]:
            item.wrong("value", "stands there twice")
        found.append({"value": value, **({"comment": comment} if comment is not None else {})})
    return found


def value_problem(kind: str, value: str, zone: str) -> str:
    """What is wrong with a value of this type in this zone; "" when nothing is."""
    if kind == "TXT" and not _TXT.fullmatch(value):
        return "must be one or several strings in double quotes, separated by one space"
    bare = re.sub(_QUOTED, "", value)
    if set("\n\r;()") & set(bare) or '"' in bare:
        return "must be one line without comments"
    try:
        dns.rdata.from_text(dns.rdataclass.IN, kind, value, dns.name.from_text(zone), relativize=False)
    except (dns.exception.DNSException, ValueError) as error:
        return f"is not a value of type {kind}: {error}"
    return ""
