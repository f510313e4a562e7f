"""Servers: list, show, rename, delete, protect, and their reverse names."""

from __future__ import annotations

import re

from lab.cloud import catalog
from lab.cloud.call import Call, Reply
from lab.cloud.collection import get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input, protected
from lab.cloud.fields import Fields
from lab.cloud.firewall_targets import firewalls_of
from lab.cloud.listing import listed
from lab.cloud.locations import locations
from lab.cloud.placement_groups import shown as shown_group
from lab.cloud.power import LOCKING, check_free, statuses
from lab.cloud.primary_ips import owns, set_dns_ptr
from lab.cloud.publishing import publish
from lab.cloud.state import Record, Tables
from lab.cloud.volumes import attached

# RFC 1123: names of letters, digits and dashes, joined by periods
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /servers."""
    with cloud.state.read() as tables:
        keys = list(tables.servers)
    now = statuses(cloud, keys)
    with cloud.state.read() as tables:
        known = [tables.servers[key] for key in keys if key in tables.servers]
        items = [shown(tables, server, now[server["id"]], _location(cloud, server)) for server in known]
        return listed(call, "servers", items, among=("status",))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /servers/{id}."""
    return Reply(200, {"server": shown_now(cloud, call.id("server"))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /servers/{id}: name and labels. New labels may bring other firewalls."""
    key = call.id("server")
    fields = Fields(call.body)
    if fields.has("name"):
        check_hostname(fields, fields.text("name"))
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", key)
        before = [firewall["id"] for firewall in firewalls_of(tables, server)]
        rename(tables.servers, "server", server, fields)
        moved = [firewall["id"] for firewall in firewalls_of(tables, server)] != before
        work = {"verb": "push_firewalls", "lane": f"firewalls-of:{key}", "servers": [key]}
        action = cloud.actions.begin(tables, "apply_firewall", [("server", key)], work) if moved else None
    if action is not None:
        cloud.actions.launch([action])
    return Reply(200, {"server": shown_now(cloud, key)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /servers/{id}: at once and without a shutdown, unless it is protected."""
    key = call.id("server")
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", key)
        if server["protection"]["delete"]:
            raise protected(f"server '{server['name']}'")
        check_free(tables, server)
        work = {"verb": "delete", "lane": f"server:{key}", "server": key}
        action = cloud.actions.begin(tables, "delete_server", [("server", key)], work)
    return Reply(200, {"action": cloud.actions.launch([action])[0]})


def change_protection(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/change_protection: `delete` and `rebuild` must be equal."""
    fields = Fields(call.body)
    delete_, rebuild = fields.maybe_flag("delete"), fields.maybe_flag("rebuild")
    fields.check()
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", call.id("server"))
        wanted = dict(server["protection"])
        wanted.update({k: v for k, v in (("delete", delete_), ("rebuild", rebuild)) if v is not None})
        if wanted["delete"] != wanted["rebuild"]:
            raise invalid_input("rebuild", "delete and rebuild must have the same value")
        server["protection"] = wanted
        action = cloud.actions.begin(tables, "change_protection", [("server", server["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_dns_ptr(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/change_dns_ptr, for one of the server's own addresses."""
    fields = Fields(call.body)
    ip, name = fields.text("ip"), fields.maybe_text("dns_ptr")
    fields.check()
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", call.id("server"))
        own = [tables.primary_ips[server[kind]] for kind in ("ipv4", "ipv6") if server[kind] is not None]
        record = next((record for record in own if owns(record, ip)), None)
        if record is None:
            raise invalid_input("ip", f"{ip} does not belong to server '{server['name']}'")
        set_dns_ptr(record, ip, name)
        action = cloud.actions.begin(tables, "change_dns_ptr", [("server", server["id"])], publish())
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def check_hostname(fields: Fields, name: str) -> None:
    """Note a mistake when a server cannot have this name."""
    if name and (len(name) > 253 or not _HOSTNAME.fullmatch(name)):
        fields.wrong("name", "is not a valid hostname (RFC 1123: letters, digits, dashes, periods)")


def shown_now(cloud: Cloud, key: int) -> Record:
    """A server as the API shows it now. Raises `not_found`."""
    now = statuses(cloud, [key])
    with cloud.state.read() as tables:
        server = get(tables, "servers", "server", key)
        return shown(tables, server, now.get(key, "off"), _location(cloud, server))


def shown(tables: Tables, server: Record, status: str, location: str) -> Record:
    """A server as the API shows it. `location` is where it says that the server stands."""
    kind = catalog.find(catalog.server_types(), server["server_type"], "server_type")
    group = server["placement_group"]
    return {
        "id": server["id"],
        "name": server["name"],
        "status": status,
        "created": server["created"],
        "server_type": kind,
        "location": catalog.find(locations(), location, "location"),
        "image": catalog.find(catalog.images(), str(server["image"]), "image"),
        "labels": server["labels"],
        "protection": server["protection"],
        "locked": status in LOCKING,
        "public_net": {
            "ipv4": _public(tables, server["ipv4"]),
            "ipv6": _public(tables, server["ipv6"]),
            "floating_ips": [],
            "firewalls": [{"id": firewall["id"], "status": "applied"} for firewall in firewalls_of(tables, server)],
        },
        "private_net": [
            {"network": nic["network"], "ip": nic["ip"], "alias_ips": nic["alias_ips"], "mac_address": nic["mac"]}
            for nic in server["private_net"]
        ],
        "placement_group": None if group is None else shown_group(tables, group),
        "primary_disk_size": server["disk_gb"],
        "iso": None,
        "rescue_enabled": False,
        "backup_window": None,
        "ingoing_traffic": 0,
        "outgoing_traffic": 0,
        "included_traffic": next(p["included_traffic"] for p in kind["prices"] if p["location"] == server["location"]),
        "volumes": attached(tables, server["id"]),
        "load_balancers": [],
    }


def _location(cloud: Cloud, server: Record) -> str:
    """Where it was ordered, or where a fault says that it stands."""
    return cloud.faults.stands_in(server["name"]) or str(server["location"])


def _public(tables: Tables, key: int | None) -> Record | None:
    if key is None:
        return None
    record = tables.primary_ips[key]
    pointer = record["dns_ptr"] if record["type"] == "ipv6" else record["dns_ptr"][0]["dns_ptr"]
    return {"id": key, "ip": record["ip"], "blocked": record["blocked"], "dns_ptr": pointer}
