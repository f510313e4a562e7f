"""Where a firewall holds: apply it to servers and label selectors, take it away, and say what holds for a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.backend import FirewallRule
from lab.cloud.call import Call, Reply
from lab.cloud.collection import get
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, limit_exceeded
from lab.cloud.fields import Fields
from lab.cloud.labels import selector as parse_selector
from lab.cloud.state import Record, Tables

# docs.hetzner.com, "Firewalls overview", "Limits"
_MOST_PER_SERVER = 5

Target = tuple[str, int | str]


def apply_to_resources(cloud: Cloud, call: Call) -> Reply:
    """POST /firewalls/{id}/actions/apply_to_resources."""
    return _change(cloud, call, "apply_to", "apply_firewall")


def remove_from_resources(cloud: Cloud, call: Call) -> Reply:
    """POST /firewalls/{id}/actions/remove_from_resources."""
    return _change(cloud, call, "remove_from", "remove_firewall")


def begin_push(cloud: Cloud, tables: Tables, firewall: int, command: str, servers: list[int]) -> int:
    """Begin an action that enforces the state on these servers' machines; with none it is done at once."""
    resources = [("firewall", firewall), *(("server", server) for server in servers)]
    work = {"verb": "push_firewalls", "lane": f"firewall:{firewall}", "servers": servers}
    return cloud.actions.begin(tables, command, resources, work if servers else None)


def read_targets(fields: Fields, name: str, *, required: bool = False) -> list[Target]:
    """The resources of a request: ("server", 42) and ("label_selector", "env=prod")."""
    targets: list[Target] = []
    for item in fields.objects(name, required=required):
        kind = item.text("type", choices=("server", "label_selector"))
        if kind == "server":
            targets.append((kind, item.object("server").number("id")))
        elif kind == "label_selector":
            text = item.object("label_selector").text("selector")
            if text:
                parse_selector(text, f"{name}.label_selector")
            targets.append((kind, text))
    return targets


def apply(tables: Tables, firewall: Record, targets: list[Target], *, missing: int = 404) -> None:
    """Apply a firewall in the records. Raises when it cannot be, or is already.

    `missing` is the status for a server that does not exist: the description has another one at creation.
    """
    for kind, key in targets:
        if kind == "label_selector":
            if key in firewall["selectors"]:
                raise ApiError(422, "firewall_already_applied", f"the firewall is already applied to '{key}'")
            firewall["selectors"].append(key)
            continue
        server = tables.servers.get(int(key))
        if server is None:
            raise ApiError(missing, "firewall_resource_not_found", f"server with ID '{key}' not found")
        if server["ipv4"] is None and server["ipv6"] is None:
            raise ApiError(422, "private_net_only_server", f"server '{server['name']}' has no public interface")
        if key in firewall["servers"]:
            raise ApiError(422, "firewall_already_applied", f"the firewall is already applied to '{server['name']}'")
        firewall["servers"].append(int(key))
        if len(firewalls_of(tables, server)) > _MOST_PER_SERVER:
            raise limit_exceeded(f"a server has at most {_MOST_PER_SERVER} firewalls", "server_firewall_limit")


def effective_servers(tables: Tables, firewall: Mapping[str, Any]) -> list[int]:
    """The ids of all servers with a public interface that this firewall holds for."""
    matches = [parse_selector(text) for text in firewall["selectors"]]
    return [
        server["id"]
        for server in tables.servers.values()
        if (server["ipv4"] or server["ipv6"])
        and (server["id"] in firewall["servers"] or any(match(server["labels"]) for match in matches))
    ]


def firewalls_of(tables: Tables, server: Record) -> list[Record]:
    """The firewalls that hold for a server."""
    return [firewall for firewall in tables.firewalls.values() if server["id"] in effective_servers(tables, firewall)]


def rules_of(tables: Tables, server: Record) -> tuple[FirewallRule, ...] | None:
    """What must be enforced for a server's machine: the rules of all its firewalls, None when it has none."""
    firewalls = firewalls_of(tables, server)
    if not firewalls:
        return None
    return tuple(_rule(rule) for firewall in firewalls for rule in firewall["rules"])


def _rule(rule: Record) -> FirewallRule:
    port = "" if rule["port"] in (None, "any") else rule["port"]
    networks = rule["source_ips"] if rule["direction"] == "in" else rule["destination_ips"]
    return FirewallRule(rule["direction"], rule["protocol"], port, tuple(networks))


def _change(cloud: Cloud, call: Call, field: str, command: str) -> Reply:
    fields = Fields(call.body)
    targets = read_targets(fields, field, required=True)
    fields.check()
    with cloud.state.change() as tables:
        firewall = get(tables, "firewalls", "firewall", call.id("firewall"))
        before = effective_servers(tables, firewall)
        if field == "apply_to":
            apply(tables, firewall, targets)
        else:
            _remove(tables, firewall, targets)
        after = effective_servers(tables, firewall)
        touched = sorted({*before, *after}) if {*before} != {*after} else []
        action = begin_push(cloud, tables, firewall["id"], command, touched)
    return Reply(201, {"actions": cloud.actions.launch([action])})


def _remove(tables: Tables, firewall: Record, targets: list[Target]) -> None:
    for kind, key in targets:
        if kind == "label_selector":
            if key not in firewall["selectors"]:
                raise ApiError(404, "firewall_resource_not_found", f"the firewall is not applied to '{key}'")
            firewall["selectors"].remove(key)
        elif key in firewall["servers"]:
            firewall["servers"].remove(key)
        elif key in effective_servers(tables, firewall):
            message = "the firewall is applied by a label selector and cannot be removed from the server alone"
            raise ApiError(422, "firewall_managed_by_label_selector", message)
        else:
            raise ApiError(404, "firewall_resource_not_found", f"the firewall is not applied to server '{key}'")
