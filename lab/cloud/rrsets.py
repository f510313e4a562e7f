"""Record sets of a zone: all records of one name and type."""

from __future__ import annotations

from lab.cloud.actions import shown as shown_action
from lab.cloud.call import Call, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input, not_unique
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.state import Record
from lab.cloud.zone_records import begin, check_beside, get_changeable, get_rrset, get_zone, rrset_record
from lab.cloud.zone_values import read_owner, read_records, read_ttl, read_type


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /zones/{id_or_name}/rrsets."""
    fields = Fields(call.body)
    with cloud.state.change() as tables:
        zone = get_zone(tables, call)
        name, kind, ttl, labels = read_owner(fields, zone["name"]), read_type(fields), read_ttl(fields), fields.labels()
        records = read_records(fields, kind, zone["name"])
        if kind == "SOA":
            fields.wrong("type", "SOA is made with the zone and cannot be made again")
        fields.check()
        if f"{name}/{kind}" in zone["rrsets"]:
            raise not_unique(f"record set '{name}' of type {kind} already exists", "name")
        check_beside(zone, name, kind, records)
        rrset = rrset_record(name, kind, ttl, records, labels)
        zone["rrsets"][f"{name}/{kind}"] = rrset
        action = begin(cloud, tables, "create_rrset", zone)
        body = {"rrset": shown(zone, rrset)}
    return Reply(201, {**body, "action": cloud.actions.launch([action])[0]})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /zones/{id_or_name}/rrsets."""
    with cloud.state.read() as tables:
        zone = get_zone(tables, call)
        items = [shown(zone, rrset) for rrset in zone["rrsets"].values()]
        # in the order they were made: record sets show no time of their making
        return listed(call, "rrsets", items, among=("type",))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /zones/{id_or_name}/rrsets/{rr_name}/{rr_type}."""
    with cloud.state.read() as tables:
        zone, rrset = get_rrset(tables, call)
        return Reply(200, {"rrset": shown(zone, rrset)})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT of a record set: labels."""
    fields = Fields(call.body)
    labels = fields.labels()
    fields.check()
    with cloud.state.change() as tables:
        zone, rrset = get_rrset(tables, call)
        if labels is not None:
            rrset["labels"] = labels
        return Reply(200, {"rrset": shown(zone, rrset)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE of a record set."""
    with cloud.state.change() as tables:
        zone, rrset = get_changeable(tables, call)
        if rrset["type"] == "SOA":
            raise invalid_input("rr_type", "SOA lives and goes with its zone")
        del zone["rrsets"][f"{rrset['name']}/{rrset['type']}"]
        action = begin(cloud, tables, "delete_rrset", zone)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_ttl(cloud: Cloud, call: Call) -> Reply:
    """POST .../actions/change_ttl: null means the zone's."""
    fields = Fields(call.body)
    ttl = read_ttl(fields)
    fields.check()
    with cloud.state.change() as tables:
        zone, rrset = get_changeable(tables, call)
        rrset["ttl"] = ttl
        action = begin(cloud, tables, "change_rrset_ttl", zone)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_protection(cloud: Cloud, call: Call) -> Reply:
    """POST .../actions/change_protection."""
    fields = Fields(call.body)
    wanted = fields.maybe_flag("change")
    if wanted is None:
        fields.wrong("change", "is required")
    fields.check()
    with cloud.state.change() as tables:
        zone, rrset = get_rrset(tables, call)
        rrset["protection"] = {"change": wanted}
        action = cloud.actions.begin(tables, "change_rrset_protection", [("zone", zone["id"])])
        return Reply(201, {"action": shown_action(tables.actions[action])})


def shown(zone: Record, rrset: Record) -> Record:
    """A record set as the API shows it."""
    return {**rrset, "id": f"{rrset['name']}/{rrset['type']}", "zone": zone["id"]}
