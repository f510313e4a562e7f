"""Primary IPs: public addresses with a life of their own."""

from __future__ import annotations

import ipaddress

from lab.cloud import catalog
from lab.cloud.addresses import next_public4, next_public6
from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name, get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, protected
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.locations import locations
from lab.cloud.power import power_of
from lab.cloud.publishing import publish, publish_soon
from lab.cloud.state import Record, Tables

WHAT = "primary IP"
DATACENTER = "was removed on 2026-07-01: use location"


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /primary_ips: with a location, or assigned to a server that is off."""
    fields = Fields(call.body)
    name, labels = fields.text("name"), fields.labels()
    kind = fields.text("type", choices=("ipv4", "ipv6"))
    # needed only for what is assigned: newer clients leave it out otherwise (hcloud-python 2.27)
    if fields.has("assignee_type") or fields.has("assignee_id"):
        fields.text("assignee_type", choices=("server", "unassigned"))
    assignee, auto_delete = fields.maybe_number("assignee_id"), fields.flag("auto_delete", False)
    location = fields.maybe_reference("location")
    fields.refuse("datacenter", DATACENTER)
    if assignee is None and location is None:
        fields.wrong("location", "is required when no assignee_id is given")
    fields.check()
    with cloud.state.change() as tables:
        check_name(tables.primary_ips, WHAT, name)
        server = None
        if assignee is not None:
            server = get(tables, "servers", "server", assignee)
            location = server["location"]
        place = catalog.find(locations(), str(location), "location")["name"]
        record = add(cloud, tables, kind, place, name=name, auto_delete=auto_delete, labels=labels or {})
        reply: Record = {}
        if server is not None:
            check_assignable(cloud, record, server)
            record["assignee"], server[kind] = server["id"], record["id"]
            action = begin_set_public(cloud, tables, "create_primary_ip", record["id"], server["id"])
            reply["action"] = action
        key = record["id"]
    if "action" in reply:
        reply["action"] = cloud.actions.launch([reply["action"]])[0]
    with cloud.state.read() as tables:
        return Reply(201, {"primary_ip": shown(tables.primary_ips[key]), **reply})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /primary_ips."""
    with cloud.state.read() as tables:
        items = [shown(record) for record in tables.primary_ips.values()]
        return listed(call, "primary_ips", items, sorts=("id", "created", "name"), equal=("name", "ip"))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /primary_ips/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"primary_ip": shown(_get(tables, call))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /primary_ips/{id}: name, labels, auto_delete."""
    fields = Fields(call.body)
    with cloud.state.change() as tables:
        record = _get(tables, call)
        auto_delete = fields.flag("auto_delete", record["auto_delete"])
        if auto_delete and record["protection"]["delete"]:
            fields.wrong("auto_delete", "cannot be true while the deletion protection is on")
        rename(tables.primary_ips, WHAT, record, fields)
        record["auto_delete"] = auto_delete
        return Reply(200, {"primary_ip": shown(record)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /primary_ips/{id}. Since 2026-05-01 it must be unassigned first."""
    with cloud.state.change() as tables:
        record = _get(tables, call)
        if record["protection"]["delete"]:
            raise protected(f"primary IP '{record['name']}'")
        if record["assignee"] is not None:
            raise ApiError(422, "must_be_unassigned", "the primary IP must be unassigned before it can be deleted")
        del tables.primary_ips[record["id"]]
    publish_soon(cloud)
    return Reply(204)


def change_protection(cloud: Cloud, call: Call) -> Reply:
    """POST /primary_ips/{id}/actions/change_protection. Not together with auto_delete."""
    fields = Fields(call.body)
    wanted = fields.maybe_flag("delete")
    fields.check()
    with cloud.state.change() as tables:
        record = _get(tables, call)
        if wanted and record["auto_delete"]:
            raise invalid_input("delete", "cannot be protected while auto_delete is true")
        if wanted is not None:
            record["protection"] = {"delete": wanted}
        action = cloud.actions.begin(tables, "change_protection", [("primary_ip", record["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_dns_ptr(cloud: Cloud, call: Call) -> Reply:
    """POST /primary_ips/{id}/actions/change_dns_ptr."""
    fields = Fields(call.body)
    ip, name = fields.text("ip"), fields.maybe_text("dns_ptr")
    fields.check()
    with cloud.state.change() as tables:
        record = _get(tables, call)
        set_dns_ptr(record, ip, name)
        action = cloud.actions.begin(tables, "change_dns_ptr", [("primary_ip", record["id"])], publish())
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def add(
    cloud: Cloud,
    tables: Tables,
    kind: str,
    location: str,
    *,
    name: str = "",
    auto_delete: bool,
    labels: dict[str, str] | None = None,
) -> Record:
    """Put a new primary IP with the next free address into the records; without a name it is called by its id."""
    key = tables.new_id()
    ip = (
        next_public4(tables, cloud.machines.public4_pool())
        if kind == "ipv4"
        else next_public6(tables, cloud.machines.public6_pool())
    )
    record: Record = {
        "id": key,
        "name": name or f"primary_ip-{key}",
        "type": kind,
        "ip": ip,
        "location": location,
        "assignee": None,
        "auto_delete": auto_delete,
        "blocked": False,
        "labels": labels or {},
        "protection": {"delete": False},
        "dns_ptr": [{"ip": ip, "dns_ptr": _default_ptr(ip)}] if kind == "ipv4" else [],
        "created": cloud.now(),
    }
    tables.primary_ips[key] = record
    # a new address has a reverse name from the first moment
    publish_soon(cloud)
    return record


def check_assignable(cloud: Cloud, record: Record, server: Record) -> None:
    """Raise when this server cannot take this primary IP now."""
    if record["assignee"] is not None:
        raise ApiError(422, "primary_ip_already_assigned", f"primary IP '{record['name']}' is already assigned")
    if server[record["type"]] is not None:
        kind = record["type"]
        raise ApiError(422, f"server_has_{kind}", f"server '{server['name']}' already has an {kind} address")
    if record["location"] != server["location"]:
        raise invalid_input("assignee_id", f"server '{server['name']}' is in another location than the primary IP")
    if power_of(cloud, server) != "off":
        raise ApiError(422, "server_not_stopped", f"server '{server['name']}' must be powered off first")


def set_dns_ptr(record: Record, ip: str, name: str | None) -> None:
    """Set the reverse name of an address, or with None the default again. Raises when the address is another's."""
    if not owns(record, ip):
        raise invalid_input("ip", f"{ip} does not belong to primary IP '{record['name']}'")
    others = [entry for entry in record["dns_ptr"] if entry["ip"] != ip]
    name = name or (_default_ptr(ip) if record["type"] == "ipv4" else None)
    record["dns_ptr"] = [*others, {"ip": ip, "dns_ptr": name}] if name else others


def owns(record: Record, ip: str) -> bool:
    """Whether an address is this primary IP, or in its /64."""
    try:
        return ipaddress.ip_address(ip) in ipaddress.ip_network(record["ip"])
    except ValueError:
        raise invalid_input("ip", f"'{ip}' is not an address") from None


def begin_set_public(cloud: Cloud, tables: Tables, command: str, ip: int, server: int) -> int:
    """Begin an action that gives a machine the public addresses that the records say."""
    work = {"verb": "set_public", "lane": f"server:{server}", "server": server}
    return cloud.actions.begin(tables, command, [("primary_ip", ip), ("server", server)], work)


def shown(record: Record) -> Record:
    """A primary IP as the API shows it. An unassigned one says so since August 2026."""
    shown = {key: value for key, value in record.items() if key != "assignee"}
    return {
        **shown,
        "assignee_id": record["assignee"],
        "assignee_type": "server" if record["assignee"] is not None else "unassigned",
        "location": catalog.find(locations(), record["location"], "location"),
    }


def _default_ptr(ip: str) -> str:
    """The reverse name that an address has before somebody gives it one, in the provider's form."""
    return f"static.{'.'.join(reversed(ip.split('.')))}.clients.your-server.de"


def _get(tables: Tables, call: Call) -> Record:
    return get(tables, "primary_ips", WHAT, call.id(WHAT))
