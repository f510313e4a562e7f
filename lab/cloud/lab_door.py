"""The lab's own door beside the API: set and clear faults, and see which requests came. Same token.

POST   /lab/faults    {"method": "POST", "path": "/v1/servers*", "status": 503, "code", "message", "count": 2,
                       "delay_ms", "retry_after", "drop": true}
                      {"machine_does_not_boot": "standby", "count": 1, "how": "error" | "silent"}
DELETE /lab/faults
GET    /lab/requests  {"requests": {"POST /v1/servers": 3, "GET /v1/servers/{id}": 7, ...}}
DELETE /lab/requests
"""

from __future__ import annotations

from lab.cloud.call import Call, Reply
from lab.cloud.context import Cloud


def add_fault(cloud: Cloud, call: Call) -> Reply:
    """POST /lab/faults."""
    cloud.faults.add(call.body)
    return Reply(201, {})


def clear_faults(cloud: Cloud, call: Call) -> Reply:
    """DELETE /lab/faults."""
    cloud.faults.clear()
    return Reply(204)


def requests(cloud: Cloud, call: Call) -> Reply:
    """GET /lab/requests: how often each operation was asked for, by method and path with placeholders."""
    return Reply(200, {"requests": cloud.faults.counts()})


def forget_requests(cloud: Cloud, call: Call) -> Reply:
    """DELETE /lab/requests."""
    cloud.faults.forget_counts()
    return Reply(204)
