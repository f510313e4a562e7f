"""Faults on request and a count of requests, so that tests can see how a client behaves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar

from lab.cloud import action_faults
from lab.cloud.action_faults import ActionFault
from lab.cloud.fields import Fields
from lab.cloud.locations import availability_zone, locations

_CODES = {
    401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 410: "deprecated_api_endpoint",
    412: "resource_unavailable", 422: "service_error", 423: "locked", 429: "rate_limit_exceeded", 500: "server_error",
    502: "bad_gateway", 503: "unavailable", 504: "timeout",
}  # fmt: skip


@dataclass
class RequestFault:
    """Requests that match are delayed, answered with an error, or cut off; `left` counts down, None is for ever."""

    method: str
    path: str
    left: int | None
    status: int | None
    code: str
    message: str
    delay_ms: int
    retry_after: int | None
    drop: bool

    def matches(self, method: str, path: str) -> bool:
        """`path` is the request's, with /v1; ours may have * in it."""
        return self.method in ("*", method) and fnmatchcase(path, self.path)


@dataclass
class BootFault:
    """A machine of this name (or *) does not come up: its start fails ("error"), or it just stays dark ("silent")."""

    name: str
    left: int | None
    how: Literal["error", "silent"]


@dataclass
class PlaceFault:
    """A server of this name (or *) stands in another location than it was ordered in; `left` is None: until cleared."""

    server: str
    stands_in: str
    left: None = None


F = TypeVar("F", RequestFault, BootFault, ActionFault)


class Faults:
    """The faults that are set, and the requests seen so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[RequestFault] = []
        self._boots: list[BootFault] = []
        self._actions: list[ActionFault] = []
        self._places: list[PlaceFault] = []
        self._counts: Counter[str] = Counter()
        self._cleared = threading.Event()

    def add(self, body: dict[str, Any]) -> None:
        """Set a fault from the JSON of POST /_lab/faults. Raises `invalid_input`."""
        fields = Fields(body)
        count = fields.maybe_number("count")
        if fields.has("machine_does_not_boot"):
            name = fields.text("machine_does_not_boot")
            how = fields.text("how", choices=("error", "silent")) if fields.has("how") else "error"
            fields.check()
            with self._lock:
                self._boots.append(BootFault(name, count, "silent" if how == "silent" else "error"))
            return
        if fields.has("stands_in"):
            place = fields.text("stands_in", choices=[known["name"] for known in locations()])
            fields.refuse("count", "a server stands there until the fault is cleared")
            name = fields.maybe_text("server") or "*"
            fields.check()
            with self._lock:
                self._places.append(PlaceFault(name, place))
            return
        if fields.has("action"):
            action = action_faults.read(fields, count)
            fields.check()
            with self._lock:
                self._actions.append(action)
            return
        status = fields.maybe_number("status")
        fault = RequestFault(
            method=(fields.maybe_text("method") or "*").upper(),
            path=fields.maybe_text("path") or "*",
            left=count,
            status=status,
            code=fields.maybe_text("code") or _CODES.get(status or 0, "server_error"),
            message=fields.maybe_text("message") or "a fault that was asked for",
            delay_ms=fields.maybe_number("delay_ms") or 0,
            retry_after=fields.maybe_number("retry_after"),
            drop=fields.flag("drop", False),
        )
        if status is not None and not 400 <= status <= 599:
            fields.wrong("status", "must be from 400 to 599")
        if status is None and not fault.drop and not fault.delay_ms:
            fields.wrong("status", "give a status, delay_ms, drop, action, machine_does_not_boot or stands_in")
        fields.check()
        with self._lock:
            self._requests.append(fault)

    def clear(self) -> None:
        """No faults any more."""
        with self._lock:
            self._requests.clear()
            self._boots.clear()
            self._actions.clear()
            self._places.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def show(self) -> list[dict[str, Any]]:
        """All that are not used up."""
        with self._lock:
            known: list[RequestFault | BootFault | ActionFault | PlaceFault]
            known = [*self._requests, *self._boots, *self._actions, *self._places]
            return [asdict(fault) for fault in known if fault.left != 0]

    def take(self, method: str, path: str) -> RequestFault | None:
        """The fault for this request, if any; it is used up by one."""
        with self._lock:
            return _use([fault for fault in self._requests if fault.matches(method, path)])

    def wait(self, fault: RequestFault) -> None:
        """Wait as long as a slow request has to, or until the faults are cleared."""
        with self._lock:
            cleared = self._cleared
        cleared.wait(fault.delay_ms / 1000)

    def take_boot(self, name: str) -> Literal["error", "silent"] | None:
        """How the machine of this name must fail to come up now, if it must."""
        with self._lock:
            fault = _use([fault for fault in self._boots if fnmatchcase(name, fault.name)])
            return fault.how if fault else None

    def take_action(self, command: str, server: str) -> ActionFault | None:
        """The fault for this action, if any; it is used up by one. `server` is a name, "" for none."""
        with self._lock:
            return _use([fault for fault in self._actions if fault.matches(command, server)])

    def stands_in(self, server: str) -> str | None:
        """The location in which the server of this name stands, if that is another than it was ordered in."""
        with self._lock:
            return next((fault.stands_in for fault in self._places if fnmatchcase(server, fault.server)), None)

    def metadata(self, server: str) -> dict[str, str]:
        """What the metadata service says otherwise to the server of this name than it was made with."""
        place = self.stands_in(server)
        if place is None:
            return {}
        region = next(known["network_zone"] for known in locations() if known["name"] == place)
        return {"availability-zone": availability_zone(place), "region": region}

    def count(self, operation: str) -> None:
        """Note a request: "GET /v1/servers/{id}"."""
        with self._lock:
            self._counts[operation] += 1

    def counts(self) -> dict[str, int]:
        """How often each operation was asked for."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def forget_counts(self) -> None:
        """Count from zero again."""
        with self._lock:
            self._counts.clear()


def _use(faults: Sequence[F]) -> F | None:
    """The first that is not used up."""
    fault = next((fault for fault in faults if fault.left != 0), None)
    if fault and fault.left is not None:
        fault.left -= 1
    return fault
