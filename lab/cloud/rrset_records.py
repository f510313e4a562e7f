"""The records of a record set: added, removed, replaced, commented."""

from __future__ import annotations

from collections.abc import Callable

from lab.cloud.call import Call, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input
from lab.cloud.fields import Fields
from lab.cloud.state import Record, Tables
from lab.cloud.zone_records import begin, check_beside, check_changeable, get_changeable, get_zone, rrset_record
from lab.cloud.zone_values import MOST_RECORDS, read_owner, read_records, read_ttl, read_type


def add_records(cloud: Cloud, call: Call) -> Reply:
    """POST .../actions/add_records: the set is made when there is none; a given ttl must be that of the set."""
    fields = Fields(call.body)
    ttl = read_ttl(fields)

    def change(tables: Tables) -> Record:
        zone = get_zone(tables, call)
        where = Fields({"name": call.path["rr_name"], "type": call.path["rr_type"]})
        name, kind = read_owner(where, zone["name"]), read_type(where)
        where.check()
        records = read_records(fields, kind, zone["name"])
        fields.check()
        rrset = zone["rrsets"].setdefault(f"{name}/{kind}", rrset_record(name, kind, ttl, []))
        check_changeable(rrset)
        if fields.has("ttl") and rrset["ttl"] != ttl:
            raise invalid_input("ttl", "is another one than that of the record set")
        known = {record["value"] for record in rrset["records"]}
        if twice := [record["value"] for record in records if record["value"] in known]:
            raise invalid_input("records", f"{', '.join(twice)}: exists already")
        if len(rrset["records"]) + len(records) > MOST_RECORDS:
            raise invalid_input("records", f"a record set has at most {MOST_RECORDS} records")
        check_beside(zone, name, kind, [*rrset["records"], *records])
        rrset["records"] += records
        return zone

    return Reply(201, _changed(cloud, "add_rrset_records", change))


def remove_records(cloud: Cloud, call: Call) -> Reply:
    """POST .../actions/remove_records: with its last record the set goes, too."""
    fields = Fields(call.body)

    def change(tables: Tables) -> Record:
        zone, rrset = get_changeable(tables, call)
        values = [record["value"] for record in read_records(fields, rrset["type"], zone["name"])]
        fields.check()
        _check_known(rrset, values)
        if rrset["type"] == "SOA":
            raise invalid_input("records", "SOA comes and goes with its zone")
        rrset["records"] = [record for record in rrset["records"] if record["value"] not in values]
        if not rrset["records"]:
            del zone["rrsets"][f"{rrset['name']}/{rrset['type']}"]
        return zone

    return Reply(201, _changed(cloud, "remove_rrset_records", change))


def set_records(cloud: Cloud, call: Call) -> Reply:
    """POST .../actions/set_records: these and no others."""
    fields = Fields(call.body)

    def change(tables: Tables) -> Record:
        zone, rrset = get_changeable(tables, call)
        records = read_records(fields, rrset["type"], zone["name"])
        fields.check()
        check_beside(zone, rrset["name"], rrset["type"], records)
        rrset["records"] = records
        return zone

    return Reply(201, _changed(cloud, "set_rrset_records", change))


def update_records(cloud: Cloud, call: Call) -> Reply:
    """POST .../actions/update_records: the comments of records that exist."""
    fields = Fields(call.body)

    def change(tables: Tables) -> Record:
        zone, rrset = get_changeable(tables, call)
        records = read_records(fields, rrset["type"], zone["name"])
        fields.check()
        comments = {record["value"]: record.get("comment", "") for record in records}
        _check_known(rrset, list(comments))
        for record in rrset["records"]:
            record["comment"] = comments.get(record["value"], record.get("comment", ""))
        return zone

    return Reply(200, _changed(cloud, "update_rrset_records", change))


def _check_known(rrset: Record, values: list[str]) -> None:
    known = {record["value"] for record in rrset["records"]}
    if missing := [value for value in values if value not in known]:
        raise invalid_input("records", f"{', '.join(missing)}: does not exist")


def _changed(cloud: Cloud, command: str, change: Callable[[Tables], Record]) -> Record:
    """Change the records of a zone, all or nothing, and publish it; returns the answer with the action."""
    with cloud.state.change() as tables:
        action = begin(cloud, tables, command, change(tables))
    return {"action": cloud.actions.launch([action])[0]}
