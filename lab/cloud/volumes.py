"""Volumes: block storage with a life of its own. What moves or changes one is in `volume_actions.py`."""

from __future__ import annotations

import re

from lab.backend import volume_device
from lab.cloud import catalog
from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name, get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, limit_exceeded, locked, protected
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.locations import locations
from lab.cloud.state import Record, Tables

# docs.hetzner.cloud, POST /volumes; 16 volumes a server: docs.hetzner.com, "Volumes FAQ"
SIZES = (10, 10240)
MOST_VOLUMES = 16
NO_AUTOMOUNT = "the local cloud mounts nothing inside of machines: send false"
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?")
# how long the answer to a delete waits until the volume is gone; the rest goes on behind it
_DELETE_PATIENCE = 5.0


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /volumes: at a location, or for a server, and attached to that when it is made."""
    fields = Fields(call.body)
    name, labels, size = fields.text("name", longest=64), fields.labels(), fields.number("size")
    server_id, location = fields.maybe_number("server"), fields.maybe_reference("location")
    file_system = fields.text("format", choices=("xfs", "ext4")) if fields.has("format") else None
    _check_name(fields, name)
    if not fields.has("size") or not SIZES[0] <= size <= SIZES[1]:
        fields.wrong("size", f"must be {SIZES[0]} to {SIZES[1]} (GB)")
    if (server_id is None) == (location is None):
        fields.wrong("location", "is required when no server is given, and not together with one")
    if fields.flag("automount", False):
        fields.wrong("automount", NO_AUTOMOUNT)
    fields.check()
    with cloud.state.change() as tables:
        check_name(tables.volumes, "volume", name)
        server = None
        if server_id is not None:
            server = get(tables, "servers", "server", server_id)
            check_room(tables, server)
            location = server["location"]
        record: Record = {
            "id": tables.new_id(),
            "name": name,
            "created": cloud.now(),
            "size": size,
            "location": catalog.find(locations(), str(location), "location")["name"],
            "server": None,
            "format": file_system,
            "labels": labels or {},
            "protection": {"delete": False},
            "made": False,
        }
        key = record["id"]
        tables.volumes[key] = record
        # in the server's lane, so that it is made before it is attached
        lane = f"server:{server['id']}" if server else f"volume:{key}"
        work = {"verb": "create_volume", "lane": lane, "volume": key}
        actions = [cloud.actions.begin(tables, "create_volume", [("volume", key)], work)]
        if server:
            actions.append(begin_attach(cloud, tables, record, server))
    action, *following = cloud.actions.launch(actions)
    with cloud.state.read() as tables:
        body = {"volume": shown(tables.volumes[key]), "action": action, "next_actions": following}
    return Reply(201, body)


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /volumes."""
    with cloud.state.read() as tables:
        items = [shown(record) for record in tables.volumes.values()]
        return listed(call, "volumes", items, among=("status",))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /volumes/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"volume": shown(find(tables, call))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /volumes/{id}: name and labels."""
    fields = Fields(call.body)
    if fields.has("name"):
        _check_name(fields, fields.text("name", longest=64))
    with cloud.state.change() as tables:
        record = find(tables, call)
        rename(tables.volumes, "volume", record, fields)
        return Reply(200, {"volume": shown(record)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /volumes/{id}: all that is on it is gone. It must be detached and not protected."""
    with cloud.state.change() as tables:
        record = find(tables, call)
        key = record["id"]
        if record["protection"]["delete"]:
            raise protected(f"volume '{record['name']}'")
        if record["server"] is not None:
            # the real answer, as clients have quoted it; the description names no code for this
            raise ApiError(422, "service_error", f"volume with ID '{key}' is still attached to a server")
        check_free(tables, record)
        del tables.volumes[key]
        work = {"verb": "delete_volume", "lane": f"volume:{key}", "volume": key}
        action = cloud.actions.begin(tables, "delete_volume", [("volume", key)], work)
    cloud.actions.launch([action], _DELETE_PATIENCE)
    return Reply(204)


def change_protection(cloud: Cloud, call: Call) -> Reply:
    """POST /volumes/{id}/actions/change_protection."""
    fields = Fields(call.body)
    wanted = fields.maybe_flag("delete")
    fields.check()
    with cloud.state.change() as tables:
        record = find(tables, call)
        if wanted is not None:
            record["protection"] = {"delete": wanted}
        action = cloud.actions.begin(tables, "change_protection", [("volume", record["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def shown(record: Record) -> Record:
    """A volume as the API shows it."""
    shown = {key: value for key, value in record.items() if key != "made"}
    return {
        **shown,
        "location": catalog.find(locations(), record["location"], "location"),
        "linux_device": volume_device(record["id"]),
        "status": "available" if record["made"] else "creating",
    }


def find(tables: Tables, call: Call) -> Record:
    """The volume of the URL. Raises `not_found`."""
    return get(tables, "volumes", "volume", call.id("volume"))


def attached(tables: Tables, server: int) -> list[int]:
    """The ids of the volumes of a server."""
    return [record["id"] for record in tables.volumes.values() if record["server"] == server]


def check_free(tables: Tables, record: Record) -> None:
    """Raise `locked` while an action on the volume is queued or running."""
    for action in tables.actions.values():
        if action["work"] and action["work"].get("volume") == record["id"]:
            raise locked(f"volume '{record['name']}'")


def check_room(tables: Tables, server: Record, more: int = 1) -> None:
    """Raise when a server cannot have so many volumes more."""
    if len(attached(tables, server["id"])) + more > MOST_VOLUMES:
        raise limit_exceeded(f"a server has at most {MOST_VOLUMES} volumes", "server_volume_limit")


def check_attachable(record: Record, server: Record, field: str) -> None:
    """Raise when this server cannot have this volume."""
    if record["server"] is not None:
        raise ApiError(422, "volume_already_attached", f"volume '{record['name']}' is already attached to a server")
    if record["location"] != server["location"]:
        message = f"volume '{record['name']}' is in {record['location']}, server '{server['name']}' is not"
        raise invalid_input(field, message)


def begin_attach(cloud: Cloud, tables: Tables, record: Record, server: Record) -> int:
    """Write down that the volume is the server's, and begin the action that plugs it in."""
    key = int(server["id"])
    record["server"] = key
    work = {"verb": "attach_volume", "lane": f"server:{key}", "server": key, "volume": record["id"], "new": True}
    return cloud.actions.begin(tables, "attach_volume", [("server", key), ("volume", record["id"])], work)


def _check_name(fields: Fields, name: str) -> None:
    if name and not _NAME.fullmatch(name):
        fields.wrong("name", "must be letters, digits, dashes, underscores and dots, a letter or digit at both ends")
