"""Placement groups: recorded, without effect on one machine."""

from __future__ import annotations

from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name, get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, limit_exceeded
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.state import Record, Tables

WHAT = "placement group"
_MOST_SERVERS = 10


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /placement_groups."""
    fields = Fields(call.body)
    name, kind, labels = fields.text("name"), fields.text("type", choices=("spread",)), fields.labels()
    fields.check()
    with cloud.state.change() as tables:
        check_name(tables.placement_groups, WHAT, name)
        key = tables.new_id()
        tables.placement_groups[key] = {
            "id": key,
            "name": name,
            "labels": labels or {},
            "type": kind,
            "created": cloud.now(),
        }
        return Reply(201, {"placement_group": shown(tables, key), "action": None})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /placement_groups."""
    with cloud.state.read() as tables:
        items = [shown(tables, key) for key in tables.placement_groups]
        return listed(call, "placement_groups", items, among=("type",))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /placement_groups/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"placement_group": shown(tables, _get(tables, call)["id"])})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /placement_groups/{id}: name and labels."""
    with cloud.state.change() as tables:
        record = _get(tables, call)
        rename(tables.placement_groups, WHAT, record, Fields(call.body))
        return Reply(200, {"placement_group": shown(tables, record["id"])})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /placement_groups/{id}."""
    with cloud.state.change() as tables:
        key = _get(tables, call)["id"]
        if shown(tables, key)["servers"]:
            raise ApiError(422, "resource_in_use", "the placement group still has servers")
        del tables.placement_groups[key]
    return Reply(204)


def shown(tables: Tables, key: int) -> Record:
    """A placement group as the API shows it."""
    servers = [server["id"] for server in tables.servers.values() if server["placement_group"] == key]
    return {**tables.placement_groups[key], "servers": servers}


def check_room(tables: Tables, key: int) -> None:
    """Raise when a server cannot be put into this group."""
    if key not in tables.placement_groups:
        raise invalid_input("placement_group", f"placement group with ID '{key}' does not exist")
    if len(shown(tables, key)["servers"]) >= _MOST_SERVERS:
        raise limit_exceeded(f"a placement group holds at most {_MOST_SERVERS} servers", "placement_group_server_limit")


def _get(tables: Tables, call: Call) -> Record:
    return get(tables, "placement_groups", WHAT, call.id(WHAT))
