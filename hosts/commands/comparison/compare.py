"""Everything that differs: at the provider as Pulumi sees it, on the machines as pyinfra does. Changes nothing.

Both are run as users run them and read as JSON.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bastide import stackfile
from bastide.console import say, step
from bastide.errors import StackError
from hosts.commands.comparison.changes import Changes, Kind, MachineChange
from hosts.commands.comparison.dry_run import machine_changes
from hosts.commands.comparison.preview import preview, resource_changes, type_changes
from hosts.stack import Stack, load_stack, provider_access
from hosts.transport.provider_api import Provider

# what a deploy writes last: the commit that it came from
_REVISION = "revision"
_REVISION_PATH = "/etc/bastide/revision"


def show_changes(stack: str, root: Path, kind: Kind, *, as_json: bool) -> int:
    """Print a plan or a drift report, for people or as JSON; returns its exit code. Raises like `compare`."""
    if as_json:
        changes = compare(stack, root, kind)
        say(json.dumps(changes.to_json(), indent=1))
        return changes.code
    with step("comparing the provider and the machines with the stack file"):
        changes = compare(stack, root, kind)
    for line in changes.lines():
        say(line)
    return changes.code


def compare(stack: str, root: Path, kind: Kind) -> Changes:
    """Everything that differs, for a plan or a drift report.

    Raises `BastideError` when Pulumi or a preflight refuses: nothing can be said then.
    """
    settings = stackfile.read(stackfile.stack_path(stack, root))
    with ThreadPoolExecutor(2) as pool:
        previewing = pool.submit(preview, stack, root, refresh=kind == "drift")
        machines: tuple[MachineChange, ...]
        try:
            loaded = load_stack(stack, root)
        except StackError as error:
            # not made yet, or other machines than wanted: Pulumi has the word, and what it says comes first
            resources = tuple(resource_changes(previewing.result()))
            if not resources:
                raise
            note = f"comes after `make infra` ({error.message})"
            machines = tuple(MachineChange(name, "new", note) for name in settings.servers)
            return Changes(stack, kind, resources, machines)
        found = machine_changes(loaded)
        if kind == "drift":
            found = tuple(_without_revision(machine) for machine in found)
        if kind == "drift" and any(machine.state == "silent" for machine in found):
            found = _explained(loaded, found)
        steps = previewing.result()
        resources = (*resource_changes(steps), *type_changes(steps, settings))
    return Changes(stack, kind, resources, found)


def _without_revision(machine: MachineChange) -> MachineChange:
    """A newer commit in this clone is no drift of the machine; what it would change there is listed by itself."""
    return replace(
        machine,
        operations=tuple(name for name in machine.operations if name != _REVISION),
        files=tuple(file for file in machine.files if file.path != _REVISION_PATH),
    )


def _explained(stack: Stack, found: tuple[MachineChange, ...]) -> tuple[MachineChange, ...]:
    """Machines that gave no way in, with what the provider says of those that it has made: off, or gone.

    Of somebody else's servers it knows nothing, and a stack of those alone has no token to ask with.
    """
    made = {machine.name: machine.id for machine in stack.machines if machine.provider == "hetzner"}
    silent = {machine.name for machine in found if machine.state == "silent"} & made.keys()
    if not silent:
        return found
    states = Provider(provider_access(stack.name, stack.root)).server_states()

    def one(machine: MachineChange) -> MachineChange:
        state = states.get(made[machine.name], "gone") if machine.name in silent else "running"
        if state == "running":
            return machine
        said = "no longer exists at the provider" if state == "gone" else f"is {state} at the provider"
        return MachineChange(machine.name, "off", f"{said}; next: `make infra` brings it back")

    return tuple(one(machine) for machine in found)
