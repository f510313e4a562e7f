"""Changing what a server is made of: a new disk from the image, another type, another placement group."""

from __future__ import annotations

import secrets

from lab.cloud import catalog
from lab.cloud.call import Call, Reply
from lab.cloud.collection import get
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, protected
from lab.cloud.fields import Fields
from lab.cloud.placement_groups import check_room
from lab.cloud.power import check_free, power_of
from lab.cloud.server_create import MOST_USER_DATA, bootable_image
from lab.cloud.state import Record, Tables


def rebuild(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/rebuild: all data on the disk is gone; the server runs afterwards."""
    fields = Fields(call.body)
    wanted = fields.reference("image")
    user_data = fields.maybe_text("user_data", longest=MOST_USER_DATA)
    fields.check()
    with cloud.state.change() as tables:
        server = _free(tables, call)
        if server["protection"]["rebuild"]:
            raise protected(f"server '{server['name']}'", "rebuild")
        kind = catalog.find(catalog.server_types(), server["server_type"], "server_type")
        server["image"] = bootable_image(wanted, kind["architecture"])["id"]
        if user_data is not None:
            server["user_data"] = user_data
        action = _begin(cloud, tables, server, "rebuild_server", "rebuild")
        password = None if server["ssh_keys"] else secrets.token_urlsafe(15)
    return Reply(201, {"action": cloud.actions.launch([action])[0], "root_password": password})


def change_type(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/change_type, of a server that is off, and stays off.

    With upgrade_disk the disk grows to the new type's, and never shrinks again.
    """
    fields = Fields(call.body)
    wanted = fields.reference("server_type")
    bigger_disk = fields.flag("upgrade_disk", False)
    fields.check()
    with cloud.state.change() as tables:
        server = _free(tables, call)
        _check_off(cloud, server)
        kind = catalog.find(catalog.server_types(), wanted, "server_type")
        old = catalog.find(catalog.server_types(), server["server_type"], "server_type")
        sold = [place["name"] for place in kind["locations"]]
        fits = kind["architecture"] == old["architecture"] and kind["disk"] >= server["disk_gb"]
        if kind["deprecated"] or not fits or server["location"] not in sold:
            raise ApiError(422, "invalid_server_type", f"server type {kind['name']} does not fit for this server")
        change = {"server_type": kind["name"], "disk_gb": kind["disk"] if bigger_disk else server["disk_gb"]}
        # what the server is changes when the machine has: a change that fails leaves it what it was
        action = _begin(cloud, tables, server, "change_server_type", "change_type", **change)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def add_to_placement_group(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/add_to_placement_group: while the server is off."""
    fields = Fields(call.body)
    group = fields.number("placement_group")
    fields.check()
    with cloud.state.change() as tables:
        server = _free(tables, call)
        _check_off(cloud, server)
        check_room(tables, group)
        server["placement_group"] = group
        action = cloud.actions.begin(tables, "add_to_placement_group", [("server", server["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def remove_from_placement_group(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/remove_from_placement_group."""
    with cloud.state.change() as tables:
        server = _free(tables, call)
        if server["placement_group"] is None:
            raise invalid_input("id", "the server is in no placement group")
        server["placement_group"] = None
        action = cloud.actions.begin(tables, "remove_from_placement_group", [("server", server["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def _free(tables: Tables, call: Call) -> Record:
    server = get(tables, "servers", "server", call.id("server"))
    check_free(tables, server)
    return server


def _check_off(cloud: Cloud, server: Record) -> None:
    if power_of(cloud, server) != "off":
        raise ApiError(422, "server_not_stopped", f"server '{server['name']}' must be powered off first")


def _begin(cloud: Cloud, tables: Tables, server: Record, command: str, verb: str, **more: object) -> int:
    work = {"verb": verb, "lane": f"server:{server['id']}", "server": server["id"], **more}
    return cloud.actions.begin(tables, command, [("server", server["id"])], work)
