"""The actions that move volumes between servers and make them bigger."""

from __future__ import annotations

from lab.cloud.call import Call, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input
from lab.cloud.fields import Fields
from lab.cloud.power import check_free as check_server_free
from lab.cloud.volumes import NO_AUTOMOUNT, SIZES, begin_attach, check_attachable, check_free, check_room, find


def attach(cloud: Cloud, call: Call) -> Reply:
    """POST /volumes/{id}/actions/attach: to a server of the same location, running or not."""
    fields = Fields(call.body)
    wanted = fields.number("server")
    if fields.flag("automount", False):
        fields.wrong("automount", NO_AUTOMOUNT)
    fields.check()
    with cloud.state.change() as tables:
        record = find(tables, call)
        check_free(tables, record)
        if wanted not in tables.servers:
            raise invalid_input("server", f"server with ID '{wanted}' does not exist")
        server = tables.servers[wanted]
        check_server_free(tables, server)
        check_attachable(record, server, "server")
        check_room(tables, server)
        action = begin_attach(cloud, tables, record, server)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def detach(cloud: Cloud, call: Call) -> Reply:
    """POST /volumes/{id}/actions/detach: at once, whatever the server does with it."""
    with cloud.state.change() as tables:
        record = find(tables, call)
        check_free(tables, record)
        key, server = record["id"], record["server"]
        if server is None:
            raise invalid_input("id", f"volume '{record['name']}' is not attached to a server")
        check_server_free(tables, tables.servers[server])
        work = {"verb": "detach_volume", "lane": f"server:{server}", "server": server, "volume": key}
        action = cloud.actions.begin(tables, "detach_volume", [("server", server), ("volume", key)], work)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def resize(cloud: Cloud, call: Call) -> Reply:
    """POST /volumes/{id}/actions/resize: only up. The file system on it keeps its size."""
    fields = Fields(call.body)
    size = fields.number("size")
    fields.check()
    with cloud.state.change() as tables:
        record = find(tables, call)
        check_free(tables, record)
        if not record["size"] < size <= SIZES[1]:
            raise invalid_input("size", f"must be more than {record['size']}, and at most {SIZES[1]} (GB)")
        key, server = record["id"], record["server"]
        lane = f"volume:{key}" if server is None else f"server:{server}"
        work = {"verb": "resize_volume", "lane": lane, "server": server or 0, "volume": key, "size": size}
        action = cloud.actions.begin(tables, "resize_volume", [("volume", key)], work)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})
