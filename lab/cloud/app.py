"""The local cloud's API as an ASGI application."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from lab.backend import Machines
from lab.cloud import admin
from lab.cloud.actions import Actions, rfc3339
from lab.cloud.call import Call, Handler, Reply
from lab.cloud.context import Clock, Cloud, Sink, wall_clock
from lab.cloud.converge import converge
from lab.cloud.endpoints import Endpoints
from lab.cloud.errors import ApiError
from lab.cloud.faults import Faults
from lab.cloud.state import State
from lab.cloud.urls import operations
from lab.cloud.work import verbs

_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


def create_app(
    state_file: Path,
    token_sha256: str,
    machines: Machines,
    *,
    admin_sha256: str = "",
    clock: Clock = wall_clock,
    action_delay: float = 0.0,
    sink: Sink | None = None,
    faults: Faults | None = None,
) -> Starlette:
    """Make the API under /v1 and the lab's admin API under /_lab.

    - `state_file` is read, and written at each change (mode 0600; its folder must exist). One process at a time.
    - `token_sha256` is the hex SHA-256 of the one token that the API lets in, `admin_sha256`
      of the admin API's ("": nobody is).
    - `machines` is asked for what the records say; at once for what was interrupted or has gone missing.
    - `sink` is asked for what mail and webhooks came, None where there is none.
    - `faults` are those that the admin API sets, for whoever shares them.
    - `clock` gives the time in UTC; `action_delay` (seconds) makes actions take at least that long.

    The application is returned before the machines are in order; requests wait for theirs. Raises `LabError` when
    the state file cannot be understood.
    """
    state = State(state_file)
    actions = Actions(state, lambda: rfc3339(clock()), action_delay)
    cloud = Cloud(state, machines, actions, faults or Faults(), clock=clock, sink=sink)
    actions.use(verbs(cloud))
    public = Endpoints(cloud, token_sha256)
    routes = [Route(f"/v1{path}", public.api(path, do), methods=[method]) for method, path, do in operations()]
    routes.append(Route("/v1{rest:path}", public.api("", _unknown(routes)), methods=_METHODS))
    own = Endpoints(cloud, admin_sha256)
    admins = [Route(f"{admin.PATH}{path}", own.admin(do), methods=[method]) for method, path, do in admin.operations()]
    admins.append(Route(f"{admin.PATH}{{rest:path}}", own.admin(_unknown(admins)), methods=_METHODS))
    converge(cloud)
    return Starlette(routes=[*routes, *admins])


def _unknown(routes: list[Route]) -> Handler:
    """What is not in the list of operations: wrong method or no such page."""
    known = list(routes)
    top = known[0].path.split("/")[1]

    def handler(cloud: Cloud, call: Call) -> Reply:
        path = f"/{top}{call.path['rest']}"
        if any(route.path_regex.match(path) for route in known):
            raise ApiError(405, "method_not_allowed", f"this method is not allowed for {path}")
        raise ApiError(404, "not_found", f"there is nothing at {path}")

    return handler
