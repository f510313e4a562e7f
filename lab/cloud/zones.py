"""DNS zones. Their record sets stand in the zone's record; what changes is published by `publishing.py`."""

from __future__ import annotations

from lab.backend import NAMESERVERS
from lab.cloud.actions import shown as shown_action
from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, protected, unsupported
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.publishing import publish
from lab.cloud.state import Record
from lab.cloud.zone_files import read_zone_file, zone_file
from lab.cloud.zone_records import begin, check_beside, get_zone, rrset_record
from lab.cloud.zone_values import TYPES, read_owner, read_records, read_ttl, read_type, read_zone_name, value_problem

_DEFAULT_TTL = 3600


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /zones: with record sets, or with a zone file."""
    fields = Fields(call.body)
    name, labels, ttl = read_zone_name(fields), fields.labels(), read_ttl(fields)
    mode = fields.text("mode", choices=("primary", "secondary"))
    text = fields.maybe_text("zonefile", longest=1 << 20)
    given = []
    for item in fields.objects("rrsets"):
        owner, kind = read_owner(item, name), read_type(item)
        given.append((owner, kind, read_ttl(item), read_records(item, kind, name), item.labels()))
    if mode == "primary":
        fields.refuse("primary_nameservers", "is forbidden when mode is primary")
    if text and given:
        fields.wrong("zonefile", "cannot be given together with rrsets")
    fields.check()
    if mode == "secondary":
        raise unsupported("the local cloud serves primary zones only")
    with cloud.state.change() as tables:
        check_name(tables.zones, "zone", name)
        zone: Record = {
            "id": tables.new_id(),
            "name": name,
            "mode": mode,
            "ttl": _DEFAULT_TTL if ttl is None else ttl,
            "labels": labels or {},
            "protection": {"delete": False},
            "created": cloud.now(),
            "rrsets": {},
            "serial": 0,
        }
        _add(zone, rrset_record("@", "SOA", None, [{"value": ""}]))
        _add(zone, rrset_record("@", "NS", None, [{"value": host} for host in NAMESERVERS]))
        for owner, kind, own_ttl, records, own_labels in given:
            check_beside(zone, owner, kind, records)
            _add(zone, rrset_record(owner, kind, own_ttl, records, own_labels))
        if text:
            _import(zone, text)
        tables.zones[zone["id"]] = zone
        action = begin(cloud, tables, "create_zone", zone)
        body = {"zone": shown(zone)}
    return Reply(201, {**body, "action": cloud.actions.launch([action])[0]})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /zones."""
    with cloud.state.read() as tables:
        return listed(call, "zones", map(shown, tables.zones.values()), equal=("name", "mode"))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /zones/{id_or_name}."""
    with cloud.state.read() as tables:
        return Reply(200, {"zone": shown(get_zone(tables, call))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /zones/{id_or_name}: labels."""
    fields = Fields(call.body)
    labels = fields.labels()
    fields.check()
    with cloud.state.change() as tables:
        zone = get_zone(tables, call)
        if labels is not None:
            zone["labels"] = labels
        return Reply(200, {"zone": shown(zone)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /zones/{id_or_name}."""
    with cloud.state.change() as tables:
        zone = get_zone(tables, call)
        if zone["protection"]["delete"]:
            raise protected(f"zone '{zone['name']}'")
        del tables.zones[zone["id"]]
        action = cloud.actions.begin(tables, "delete_zone", [("zone", zone["id"])], publish())
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def export_zonefile(cloud: Cloud, call: Call) -> Reply:
    """GET /zones/{id_or_name}/zonefile."""
    with cloud.state.read() as tables:
        return Reply(200, {"zonefile": zone_file(get_zone(tables, call))})


def import_zonefile(cloud: Cloud, call: Call) -> Reply:
    """POST /zones/{id_or_name}/actions/import_zonefile: replaces all record sets but SOA and the zone's own NS."""
    fields = Fields(call.body)
    text = fields.text("zonefile", longest=1 << 20)
    fields.check()
    with cloud.state.change() as tables:
        zone = get_zone(tables, call)
        if any(rrset["protection"]["change"] for rrset in zone["rrsets"].values()):
            raise protected(f"a record set of zone '{zone['name']}'", "change")
        zone["rrsets"] = {key: zone["rrsets"][key] for key in ("@/SOA", "@/NS")}
        _import(zone, text)
        action = begin(cloud, tables, "import_zonefile", zone)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_ttl(cloud: Cloud, call: Call) -> Reply:
    """POST /zones/{id_or_name}/actions/change_ttl: for all record sets that have none of their own."""
    fields = Fields(call.body)
    ttl = read_ttl(fields, required=True)
    fields.check()
    with cloud.state.change() as tables:
        zone = get_zone(tables, call)
        zone["ttl"] = ttl
        action = begin(cloud, tables, "change_ttl", zone)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_protection(cloud: Cloud, call: Call) -> Reply:
    """POST /zones/{id_or_name}/actions/change_protection."""
    fields = Fields(call.body)
    wanted = fields.maybe_flag("delete")
    fields.check()
    with cloud.state.change() as tables:
        zone = get_zone(tables, call)
        if wanted is not None:
            zone["protection"] = {"delete": wanted}
        action = cloud.actions.begin(tables, "change_protection", [("zone", zone["id"])])
        return Reply(201, {"action": shown_action(tables.actions[action])})


def change_primary_nameservers(cloud: Cloud, call: Call) -> Reply:
    """POST /zones/{id_or_name}/actions/change_primary_nameservers: of secondary zones, which this cloud has not."""
    with cloud.state.read() as tables:
        zone = get_zone(tables, call)
        raise ApiError(422, "incorrect_zone_mode", f"zone '{zone['name']}' is a primary zone")


def shown(zone: Record) -> Record:
    """A zone as the API shows it. Nobody registers domains here, so delegation is not known."""
    return {
        **{key: value for key, value in zone.items() if key not in ("rrsets", "serial")},
        "primary_nameservers": [],
        "status": "ok",
        "record_count": sum(len(rrset["records"]) for rrset in zone["rrsets"].values()),
        "registrar": "unknown",
        "authoritative_nameservers": {
            "assigned": list(NAMESERVERS),
            "delegated": [],
            "delegation_last_check": None,
            "delegation_status": "unknown",
        },
    }


def _add(zone: Record, rrset: Record) -> None:
    zone["rrsets"][f"{rrset['name']}/{rrset['type']}"] = rrset


def _import(zone: Record, text: str) -> None:
    for owner, kind, ttl, values in read_zone_file(zone["name"], text):
        for value in values:
            problem = value_problem(kind, value, zone["name"]) if kind in TYPES else "has a type that is not taken"
            if problem:
                raise invalid_input("zonefile", f"{owner} {kind}: {problem}")
        records: list[Record] = [{"value": value} for value in values]
        check_beside(zone, owner, kind, records)
        _add(zone, rrset_record(owner, kind, None if ttl == zone["ttl"] else ttl, records))
