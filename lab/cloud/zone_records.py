"""What all changes of zones share: finding zones and record sets, what may stand beside what, the rising serial."""

from __future__ import annotations

from lab.backend import NAMESERVERS
from lab.cloud.call import Call
from lab.cloud.collection import get_named
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, protected
from lab.cloud.publishing import publish
from lab.cloud.state import Record, Tables


def get_zone(tables: Tables, call: Call) -> Record:
    """The zone whose id or name stands in the URL. Raises `not_found`."""
    return get_named(tables, "zones", "zone", call)


def begin(cloud: Cloud, tables: Tables, command: str, zone: Record) -> int:
    """Begin the action of a change of records: the serial rises, and the name servers are told."""
    # the day and two digits (RFC 1912, section 2.2), and never less than one more than before
    zone["serial"] = max(zone["serial"] + 1, int(cloud.clock().strftime("%Y%m%d00")))
    soa = f"{NAMESERVERS[0]} dns.hetzner.com. {zone['serial']} 86400 10800 3600000 3600"
    zone["rrsets"]["@/SOA"]["records"] = [{"value": soa}]
    return cloud.actions.begin(tables, command, [("zone", zone["id"])], publish())


def get_rrset(tables: Tables, call: Call) -> tuple[Record, Record]:
    """The zone and the record set of the URL. Raises `not_found`."""
    zone = get_zone(tables, call)
    key = f"{call.path['rr_name']}/{call.path['rr_type']}"
    if key not in zone["rrsets"]:
        raise ApiError(404, "not_found", f"record set {key} not found in zone '{zone['name']}'")
    return zone, zone["rrsets"][key]


def get_changeable(tables: Tables, call: Call) -> tuple[Record, Record]:
    """The same. Raises `protected` when it is protected against changes."""
    zone, rrset = get_rrset(tables, call)
    check_changeable(rrset)
    return zone, rrset


def check_changeable(rrset: Record) -> None:
    """Raise `protected` when the record set is protected against changes."""
    if rrset["protection"]["change"]:
        raise protected(f"record set '{rrset['name']}/{rrset['type']}'", "change")


def check_beside(zone: Record, name: str, kind: str, records: list[Record]) -> None:
    """Raise `invalid_input` for a CNAME beside other types, or with several values (RFC 1034, section 3.6.2)."""
    others = [one["type"] for one in zone["rrsets"].values() if one["name"] == name and one["type"] != kind]
    if kind == "CNAME" and (others or len(records) > 1):
        raise invalid_input("type", f"a CNAME must be alone: '{name}' has other records")
    if "CNAME" in others:
        raise invalid_input("type", f"'{name}' is a CNAME: nothing can stand beside it")


def rrset_record(
    name: str, kind: str, ttl: int | None, records: list[Record], labels: dict[str, str] | None = None
) -> Record:
    """A new record set."""
    unprotected = {"change": False}
    return {
        "name": name, "type": kind, "ttl": ttl, "labels": labels or {}, "protection": unprotected, "records": records
    }  # fmt: skip
