"""Cloud firewalls: rules, and the servers that they are applied to, one by one or by label selector."""

from __future__ import annotations

import ipaddress
import re

from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name, get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError
from lab.cloud.fields import Fields
from lab.cloud.firewall_targets import apply, begin_push, effective_servers, read_targets
from lab.cloud.listing import listed
from lab.cloud.state import Record, Tables

# docs.hetzner.com, "Firewalls overview", "Limits"
_MOST_RULES = 50


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /firewalls."""
    fields = Fields(call.body)
    name, labels, rules = fields.text("name"), fields.labels(), read_rules(fields)
    targets = read_targets(fields, "apply_to")
    fields.check()
    with cloud.state.change() as tables:
        check_name(tables.firewalls, "firewall", name)
        key = tables.new_id()
        record: Record = {
            "id": key,
            "name": name,
            "labels": labels or {},
            "rules": rules,
            "servers": [],
            "selectors": [],
            "created": cloud.now(),
        }
        tables.firewalls[key] = record
        actions = [begin_push(cloud, tables, key, "set_firewall_rules", [])]
        if targets:
            apply(tables, record, targets, missing=422)
            actions.append(begin_push(cloud, tables, key, "apply_firewall", effective_servers(tables, record)))
    done = cloud.actions.launch(actions)
    with cloud.state.read() as tables:
        return Reply(201, {"firewall": shown(tables, get(tables, "firewalls", "firewall", key)), "actions": done})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /firewalls."""
    with cloud.state.read() as tables:
        return listed(call, "firewalls", [shown(tables, record) for record in tables.firewalls.values()])


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /firewalls/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"firewall": shown(tables, get(tables, "firewalls", "firewall", call.id("firewall")))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /firewalls/{id}: name and labels."""
    with cloud.state.change() as tables:
        record = get(tables, "firewalls", "firewall", call.id("firewall"))
        rename(tables.firewalls, "firewall", record, Fields(call.body))
        return Reply(200, {"firewall": shown(tables, record)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /firewalls/{id}. Not while it is applied to anything."""
    with cloud.state.change() as tables:
        record = get(tables, "firewalls", "firewall", call.id("firewall"))
        if record["servers"] or record["selectors"]:
            raise ApiError(422, "resource_in_use", f"firewall '{record['name']}' is still applied to a resource")
        del tables.firewalls[record["id"]]
    return Reply(204)


def set_rules(cloud: Cloud, call: Call) -> Reply:
    """POST /firewalls/{id}/actions/set_rules: the new rules hold on each machine when the action has ended."""
    fields = Fields(call.body)
    rules = read_rules(fields, required=True)
    fields.check()
    with cloud.state.change() as tables:
        record = get(tables, "firewalls", "firewall", call.id("firewall"))
        record["rules"] = rules
        servers = effective_servers(tables, record)
        action = begin_push(cloud, tables, record["id"], "set_firewall_rules", servers)
    return Reply(201, {"actions": cloud.actions.launch([action])})


def read_rules(fields: Fields, *, required: bool = False) -> list[Record]:
    """The field `rules`, checked."""
    rules = [_rule(item) for item in fields.objects("rules", required=required)]
    if len(rules) > _MOST_RULES:
        fields.wrong("rules", f"too many: at most {_MOST_RULES}")
    return rules


def shown(tables: Tables, record: Record) -> Record:
    """A firewall as the API shows it."""
    applied: list[Record] = [{"type": "server", "server": {"id": server}} for server in record["servers"]]
    for selector in record["selectors"]:
        matched = effective_servers(tables, {"servers": [], "selectors": [selector]})
        resources = [{"type": "server", "server": {"id": server}} for server in matched]
        found = {"type": "label_selector", "label_selector": {"selector": selector}, "applied_to_resources": resources}
        applied.append(found)
    shown = {key: value for key, value in record.items() if key not in ("servers", "selectors")}
    return {**shown, "applied_to": applied}


def _rule(fields: Fields) -> Record:
    direction = fields.text("direction", choices=("in", "out"))
    protocol = fields.text("protocol", choices=("tcp", "udp", "icmp", "esp", "gre"))
    rule = {
        "direction": direction,
        "protocol": protocol,
        "port": _port(fields, protocol),
        "source_ips": _ranges(fields, "source_ips", direction == "in"),
        "destination_ips": _ranges(fields, "destination_ips", direction == "out"),
        "description": fields.maybe_text("description"),
    }
    return rule


def _port(fields: Fields, protocol: str) -> str | None:
    text = fields.maybe_text("port")
    if protocol not in ("tcp", "udp"):
        if text:
            fields.wrong("port", f"must not be given with protocol {protocol}")
        return None
    if not text:
        fields.wrong("port", f"is required with protocol {protocol}")
        return None
    if text == "any":
        return text
    ports = [int(part) for part in text.split("-")] if re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", text) else []
    if not ports or not all(1 <= port <= 65535 for port in ports) or ports != sorted(ports):
        fields.wrong("port", "must be a port, a range such as 80-85, or any")
    return text


def _ranges(fields: Fields, name: str, needed: bool) -> list[str]:
    texts = fields.texts(name)
    if needed and not texts:
        fields.wrong(name, "must not be empty for this direction")
    if texts and not needed:
        fields.wrong(name, "must be empty for this direction")
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            fields.wrong(name, f"'{text}' is not a CIDR (with no host bits set)")
        else:
            if "/" not in text:
                fields.wrong(name, f"'{text}' has no prefix length")
            # ipaddress takes any text as an IPv6 zone, and this one goes on into a rule file
            if "%" in text:
                fields.wrong(name, f"'{text}' names a zone")
    return texts
