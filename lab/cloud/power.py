"""Server power: what a server is doing, and the actions that start and stop it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from bastide.errors import BastideError
from lab.backend import PowerState
from lab.cloud.call import Call, Handler, Reply
from lab.cloud.collection import get
from lab.cloud.context import Cloud
from lab.cloud.errors import locked, unsupported
from lab.cloud.state import Record, Tables

log = logging.getLogger("lab.cloud")

# the verbs that lock a server while they are queued or running, and what the server shows meanwhile
_PHASES = {
    "create": "initializing",
    "start": "starting",
    "stop": "stopping",
    "restart": "starting",
    "rebuild": "rebuilding",
    "change_type": "migrating",
    "delete": "deleting",
}
LOCKING = frozenset(_PHASES.values())


def poweron(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/poweron."""
    return _act(cloud, call, "start_server", "start")


def poweroff(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/poweroff: the plug."""
    return _act(cloud, call, "stop_server", "stop")


def reset(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/reset: the plug, out and in."""
    return _act(cloud, call, "reset_server", "restart")


def shutdown(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/shutdown: asks the system; the action ends when it was asked."""
    return _act(cloud, call, "shutdown_server", "shutdown", needs_power=True)


def reboot(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/reboot: asks the system; the action ends when it was asked."""
    return _act(cloud, call, "reboot_server", "reboot", needs_power=True)


def check_free(tables: Tables, server: Record) -> None:
    """Raise `locked` while an action that locks the server is queued or running."""
    if phase_of(tables, server["id"]) is not None:
        raise locked(f"server '{server['name']}'")


def phase_of(tables: Tables, server: int) -> str | None:
    """What a server is in the middle of ("starting"), None when nothing: the oldest of its running actions says."""
    for action in tables.actions.values():
        work = action["work"]
        if work and work.get("server") == server and work["verb"] in _PHASES:
            return _PHASES[work["verb"]]
    return None


def power_of(cloud: Cloud, server: Record) -> PowerState:
    """Whether a machine is running now, asked of the machine itself; the last known state while it is busy."""
    if not server["made"]:
        return "off"
    with cloud.machine_if_free(server["id"]) as mine:
        if mine:
            known: PowerState = cloud.machines.power_state(server["id"])
            return known
    last: PowerState = server["power"]
    return last


def statuses(cloud: Cloud, servers: Iterable[int]) -> dict[int, str]:
    """The status of servers by id, as the API shows it. Ask outside of the state's lock: machines may be slow."""
    with cloud.state.read() as tables:
        records = [dict(tables.servers[key]) for key in servers if key in tables.servers]
        phases = {record["id"]: phase_of(tables, record["id"]) for record in records}
    found = {}
    for record in records:
        # a machine that was made to stay dark (a fault) shows what the real cloud would: it has been switched on
        dark = "running" if record["dark"] else None
        found[record["id"]] = phases[record["id"]] or dark or _asked(cloud, record)
    return found


def unsupported_action(name: str) -> Handler:
    """An action that the real cloud has and this one has not; it says so."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        with cloud.state.read() as tables:
            get(tables, "servers", "server", call.id("server"))
        raise unsupported(f"the local cloud has no {name}")

    return handler


def _asked(cloud: Cloud, record: Record) -> str:
    try:
        return power_of(cloud, record)
    except BastideError as error:
        log.warning("the power of server '%s' is not known: %s", record["name"], error.message)
        return "unknown"


def _act(cloud: Cloud, call: Call, command: str, verb: str, *, needs_power: bool = False) -> Reply:
    key = call.id("server")
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", key)
        check_free(tables, server)
        if needs_power and power_of(cloud, server) == "off" and not server["dark"]:
            raise unsupported(f"server '{server['name']}' is off")
        work = {"verb": verb, "lane": f"server:{key}", "server": key}
        action = cloud.actions.begin(tables, command, [("server", key)], work)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})
