"""Giving primary IPs to servers and taking them back: only while the server is off."""

from __future__ import annotations

from lab.cloud.call import Call, Reply
from lab.cloud.collection import get
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input
from lab.cloud.fields import Fields
from lab.cloud.power import check_free, power_of
from lab.cloud.primary_ips import WHAT, begin_set_public, check_assignable


def assign(cloud: Cloud, call: Call) -> Reply:
    """POST /primary_ips/{id}/actions/assign."""
    fields = Fields(call.body)
    fields.text("assignee_type", choices=("server",))
    assignee = fields.number("assignee_id")
    fields.check()
    with cloud.state.change() as tables:
        record = get(tables, "primary_ips", WHAT, call.id(WHAT))
        server = get(tables, "servers", "server", assignee)
        check_free(tables, server)
        check_assignable(cloud, record, server)
        record["assignee"], server[record["type"]] = server["id"], record["id"]
        action = begin_set_public(cloud, tables, "assign_primary_ip", record["id"], server["id"])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def unassign(cloud: Cloud, call: Call) -> Reply:
    """POST /primary_ips/{id}/actions/unassign."""
    with cloud.state.change() as tables:
        record = get(tables, "primary_ips", WHAT, call.id(WHAT))
        if record["assignee"] is None:
            raise invalid_input("id", "the primary IP is not assigned")
        server = get(tables, "servers", "server", record["assignee"])
        check_free(tables, server)
        if power_of(cloud, server) != "off":
            raise ApiError(422, "server_not_stopped", f"server '{server['name']}' must be powered off first")
        record["assignee"], server[record["type"]] = None, None
        action = begin_set_public(cloud, tables, "unassign_primary_ip", record["id"], server["id"])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})
