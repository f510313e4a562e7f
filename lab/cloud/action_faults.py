"""Faults of actions: one that was asked for ends in "error" after some progress, or takes longer than it should."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NoReturn, cast

from lab.backend import Machines
from lab.cloud.actions import Progress
from lab.cloud.errors import ActionFailed
from lab.cloud.fields import Fields

# the commands whose work is done by the machine side; all others are done when they begin, and cannot fail later
COMMANDS = (
    "create_server", "start_server", "stop_server", "reset_server", "shutdown_server", "reboot_server",
    "rebuild_server", "change_server_type", "delete_server", "attach_to_network", "detach_from_network",
    "change_alias_ips", "delete_network", "change_ip_range", "apply_firewall", "remove_firewall",
    "set_firewall_rules", "assign_primary_ip", "unassign_primary_ip", "change_dns_ptr", "create_zone", "delete_zone",
    "import_zonefile", "create_rrset", "delete_rrset", "add_rrset_records", "remove_rrset_records",
    "set_rrset_records", "update_rrset_records", "change_rrset_ttl", "create_volume", "delete_volume",
    "attach_volume", "detach_volume", "resize_volume",
)  # fmt: skip
# what may be asked of the machines without changing any
_QUESTIONS = ("public4_pool", "public6_pool", "power_state", "machine_ids", "volume_ids")


@dataclass
class ActionFault:
    """Actions that match get as far as `progress` (percent), wait `delay_ms`, and then fail, unless `code` is "".

    `command` and `server` may have * in them; `left` counts down, None is for ever.
    """

    command: str
    server: str
    left: int | None
    progress: int
    delay_ms: int
    code: str
    message: str

    def matches(self, command: str, server: str) -> bool:
        """`server` is the server's name, "" for actions that are about none."""
        return fnmatchcase(command, self.command) and fnmatchcase(server, self.server)

    def strike(self, machines: Machines, progress: Progress) -> Machines:
        """Do what was asked for, in the action's own thread. Returns the machine side that the action goes on with."""
        progress(self.progress)
        time.sleep(self.delay_ms / 1000)  # the slowness itself was asked for
        if not self.code:
            return machines
        # on the machine side, so that the cloud tidies up as it does after a real failure
        return cast(Machines, _Failing(machines, self.code, self.message))


def read(fields: Fields, count: int | None) -> ActionFault:
    """A fault from the JSON of POST /_lab/faults. Mistakes are noted in `fields`."""
    command = fields.text("action")
    if command and not any(fnmatchcase(known, command) for known in COMMANDS):
        fields.wrong("action", f"must be one of: {', '.join(COMMANDS)}")
    how = fields.text("how", choices=("error", "slow")) if fields.has("how") else "error"
    delay_ms, progress = fields.maybe_number("delay_ms") or 0, fields.maybe_number("progress")
    if how == "slow" and not delay_ms:
        fields.wrong("delay_ms", "is required when it is to be slow")
    if not 0 <= delay_ms <= 600_000:
        fields.wrong("delay_ms", "must be from 0 to 600000")
    if progress is not None and not 0 <= progress <= 99:
        fields.wrong("progress", "must be from 0 to 99")
    return ActionFault(
        command=command,
        server=fields.maybe_text("server") or "*",
        left=count,
        progress=40 if progress is None else progress,
        delay_ms=delay_ms,
        code="" if how == "slow" else fields.maybe_text("code") or "action_failed",
        message=fields.maybe_text("message") or "a fault that was asked for",
    )


class _Failing:
    """A machine side that fails in everything that changes a machine."""

    def __init__(self, machines: Machines, code: str, message: str) -> None:
        self._machines = machines
        self._code = code
        self._message = message

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any verb of Machines
        if name in _QUESTIONS:
            return getattr(self._machines, name)
        return self._fail

    def _fail(self, *arguments: object) -> NoReturn:
        raise ActionFailed(self._code, self._message)
