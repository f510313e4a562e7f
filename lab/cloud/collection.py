"""What all collections do alike: find by id, unique names, names and labels that change, and their actions' lists."""

from __future__ import annotations

from collections.abc import Sequence

from lab.cloud.actions import shown
from lab.cloud.call import Call, Handler, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input, not_found, not_unique
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.state import Record, Table, Tables


def get(tables: Tables, collection: str, what: str, key: int) -> Record:
    """The record with this id. Raises `not_found`; `what` is its name for people ("server")."""
    record = tables.table(collection).get(key)
    if record is None:
        raise not_found(what, key)
    return record


def get_named(tables: Tables, collection: str, what: str, call: Call) -> Record:
    """The record whose id or name stands in the URL as `id_or_name`. Raises `not_found`."""
    word = call.path["id_or_name"]
    for key, record in tables.table(collection).items():
        if word in (str(key), record["name"]):
            return record
    raise not_found(what, word)


def check_name(table: Table, what: str, name: str, but: int = 0) -> None:
    """Raise `uniqueness_error` when another record than `but` has this name."""
    if any(record["name"] == name and key != but for key, record in table.items()):
        raise not_unique(f"{what} name is already used", "name")


def rename(table: Table, what: str, record: Record, fields: Fields) -> None:
    """Take `name` and `labels` from a PUT, where they are given."""
    name = fields.text("name") if fields.has("name") else record["name"]
    labels = fields.labels()
    fields.check()
    check_name(table, what, name, record["id"])
    record["name"] = name
    if labels is not None:
        record["labels"] = labels


def all_actions(kind: str) -> Handler:
    """GET /{collection}/actions: what was done to all resources of a kind ("server")."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        with cloud.state.read() as tables:
            return _listed(call, [action for action in tables.actions.values() if _about(action, kind, None)])

    return handler


def own_actions(kind: str, collection: str) -> Handler:
    """GET /{collection}/{id}/actions."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        with cloud.state.read() as tables:
            key = _key(tables, collection, kind, call)
            return _listed(call, [action for action in tables.actions.values() if _about(action, kind, key)])

    return handler


def own_action(kind: str, collection: str) -> Handler:
    """GET /{collection}/{id}/actions/{action_id}."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        with cloud.state.read() as tables:
            key = _key(tables, collection, kind, call)
            return _one(tables, call.id("action", "action_id"), kind, key)

    return handler


def kind_action(kind: str) -> Handler:
    """GET /{collection}/actions/{id}."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        with cloud.state.read() as tables:
            return _one(tables, call.id("action"), kind, None)

    return handler


def get_action(cloud: Cloud, call: Call) -> Reply:
    """GET /actions/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"action": shown(get(tables, "actions", "action", call.id("action")))})


def get_actions(cloud: Cloud, call: Call) -> Reply:
    """GET /actions?id=...&id=...: without ids it was removed on 2025-01-30."""
    wanted = call.all("id")
    if not wanted:
        raise invalid_input("id", "is required: arbitrary actions are no longer listed")
    with cloud.state.read() as tables:
        found = _listed(call, [action for action in tables.actions.values() if str(action["id"]) in wanted], whole=True)
    # the description has no `meta` here: clients ask for the ids they know
    return Reply(200, {"actions": (found.body or {})["actions"]})


def _key(tables: Tables, collection: str, kind: str, call: Call) -> int:
    named = "id_or_name" in call.path
    record = get_named(tables, collection, kind, call) if named else get(tables, collection, kind, call.id(kind))
    return int(record["id"])


def _listed(call: Call, actions: Sequence[Record], *, whole: bool = False) -> Reply:
    sorts = ("id", "command", "status", "progress", "started", "finished")
    items = [shown(action) for action in actions]
    return listed(call, "actions", items, sorts=sorts, equal=(), among=("id", "status"), whole=whole)


def _one(tables: Tables, action: int, kind: str, key: int | None) -> Reply:
    record = tables.actions.get(action)
    if record is None or not _about(record, kind, key):
        raise not_found("action", action)
    return Reply(200, {"action": shown(record)})


def _about(action: Record, kind: str, key: int | None) -> bool:
    return any(r["type"] == kind and key in (None, r["id"]) for r in action["resources"])
