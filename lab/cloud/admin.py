"""The admin API beside the cloud's own: set and clear faults, and see which requests came. Its token is its own.

What can be asked for stands in docs/reference/admin-api.md.
"""

from __future__ import annotations

from bastide.errors import LabError
from lab.cloud.call import Call, Handler, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError

PATH = "/_lab"


def operations() -> list[tuple[str, str, Handler]]:
    """Method, path below PATH, and handler."""
    return [
        ("GET", "/faults", show_faults),
        ("POST", "/faults", add_fault),
        ("DELETE", "/faults", clear_faults),
        ("GET", "/requests", requests),
        ("DELETE", "/requests", forget_requests),
        ("GET", "/downtime", downtime),
        ("DELETE", "/downtime", forget_downtime),
        ("GET", "/messages", messages),
        ("POST", "/messages/faults", break_sink),
        ("DELETE", "/messages", forget_messages),
    ]


def show_faults(cloud: Cloud, call: Call) -> Reply:
    """GET /_lab/faults: those that are not used up, in the order in which they are tried."""
    return Reply(200, {"faults": cloud.faults.show()})


def add_fault(cloud: Cloud, call: Call) -> Reply:
    """POST /_lab/faults."""
    cloud.faults.add(call.body)
    return Reply(201, {})


def clear_faults(cloud: Cloud, call: Call) -> Reply:
    """DELETE /_lab/faults."""
    cloud.faults.clear()
    return Reply(204)


def requests(cloud: Cloud, call: Call) -> Reply:
    """GET /_lab/requests: how often each operation was asked for, by method and path with placeholders."""
    return Reply(200, {"requests": cloud.faults.counts()})


def forget_requests(cloud: Cloud, call: Call) -> Reply:
    """DELETE /_lab/requests."""
    cloud.faults.forget_counts()
    return Reply(204)


def downtime(cloud: Cloud, call: Call) -> Reply:
    """GET /_lab/downtime: the names of the servers that were off at the same time when most of them were."""
    with cloud.state.read() as tables:
        names = {key: server["name"] for key, server in tables.servers.items()}
    return Reply(200, {"most_off": sorted(names.get(key, f"server {key}, deleted") for key in cloud.downtime.most())})


def forget_downtime(cloud: Cloud, call: Call) -> Reply:
    """DELETE /_lab/downtime."""
    with cloud.state.read() as tables:
        cloud.downtime.forget(tables.servers)
    return Reply(204)


def messages(cloud: Cloud, call: Call) -> Reply:
    """GET /_lab/messages: the mails, calls of the webhook and signs of life that came, in their order."""
    return _sink(cloud, "GET")


def break_sink(cloud: Cloud, call: Call) -> Reply:
    """POST /_lab/messages/faults: {"mail": "refuse"}; ways that are not named are well."""
    return _sink(cloud, "POST", call.body)


def forget_messages(cloud: Cloud, call: Call) -> Reply:
    """DELETE /_lab/messages: forget them, and the faults."""
    return _sink(cloud, "DELETE")


def _sink(cloud: Cloud, method: str, body: object = None) -> Reply:
    if cloud.sink is None:
        raise ApiError(404, "not_found", "this lab has no sink: `up --sink`")
    try:
        return Reply(200, cloud.sink(method, body))
    except LabError as error:
        raise ApiError(422, "invalid_input", error.message) from None
