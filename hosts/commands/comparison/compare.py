"""`plan`: what `pulumi up` and a deploy would change. `drift`: what is not as it was made. Neither changes anything.

    pulumi preview --json [--refresh]      what differs at the provider; a drift report asks the provider, too
    pyinfra --dry --json                   what differs on each machine

Both are run as users run them and read as JSON. A machine without a recorded host key is not looked at: the first
contact writes records, and a plan writes nothing.
"""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from bastide import stackfile
from bastide.console import Completed, run, tail_of
from bastide.errors import BastideError, StackError
from bastide.machines import Machine
from bastide.transcript import machine_lines
from hosts.commands.comparison.changes import Changes, FileChange, Kind, MachineChange, ResourceChange
from hosts.enrolment.first_contact import open_strictly, target
from hosts.stack import Stack, load_stack
from hosts.transport.provider_api import provider_of

_PULUMI_SECONDS = 300.0
_PYINFRA_SECONDS = 600.0
_REACH_SECONDS = 10.0
# how a deploy warns of what it finds on a machine (host.log)
_WARNING = "! "
# steps of a preview that change nothing at the provider
_REVISION = "revision"
_REVISION_PATH = "/etc/bastide/revision"
_IDLE = {"same", "refresh", "read", "read-replacement", "discard"}


def compare(stack: str, root: Path, kind: Kind) -> Changes:
    """Everything that differs, for a plan or a drift report.

    Raises `BastideError` when Pulumi or a preflight refuses: nothing can be said then.
    """
    settings = stackfile.read(stackfile.stack_path(stack, root))
    with ThreadPoolExecutor(2) as pool:
        previewing = pool.submit(_preview, stack, root, refresh=kind == "drift")
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
        found = _machines(loaded)
        if kind == "drift":
            found = tuple(_without_revision(machine) for machine in found)
        if kind == "drift" and any(machine.state == "silent" for machine in found):
            found = _explained(loaded, found)
        resources = tuple(resource_changes(previewing.result()))
    return Changes(stack, kind, resources, found)


def resource_changes(steps: list[dict[str, Any]]) -> Iterator[ResourceChange]:
    """The steps of a `pulumi preview --json` that would change something."""
    for step in steps:
        if step["op"] in _IDLE:
            continue
        kind, name = str(step["urn"]).split("::")[-2:]
        kind = kind.rpartition("$")[2].rpartition(":")[2]
        if step["op"] == "update":
            yield ResourceChange("update", kind, name, _input_diff(step))
        else:
            yield ResourceChange(str(step["op"]), kind, name)


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
    states = provider_of(stack.name, stack.root).server_states()

    def one(machine: MachineChange) -> MachineChange:
        state = states.get(made[machine.name], "gone") if machine.name in silent else "running"
        if state == "running":
            return machine
        said = "no longer exists at the provider" if state == "gone" else f"is {state} at the provider"
        return MachineChange(machine.name, "off", f"{said}; next: `make infra` brings it back")

    return tuple(one(machine) for machine in found)


def _preview(stack: str, root: Path, *, refresh: bool) -> list[dict[str, Any]]:
    words = ["pulumi", "preview", "--json", "--non-interactive", "--stack", stack]
    done = run([*words, *(["--refresh"] if refresh else [])], cwd=root, check=False, timeout=_PULUMI_SECONDS)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {}
    if not done.ok:
        said = "".join(item["message"] for item in report.get("diagnostics", []) if item.get("severity") == "error")
        raise StackError(
            f"`pulumi preview` refuses:\n{tail_of(said or done.stderr)}",
            f"mend that; `make doctor stack={stack}` helps",
        )
    steps: list[dict[str, Any]] = report.get("steps", [])
    return steps


def _input_diff(step: Mapping[str, Any]) -> tuple[str, ...]:
    """What changes among the inputs; Pulumi has masked what is secret."""
    old, new = (_shown(step.get(state, {}).get("inputs") or {}) for state in ("oldState", "newState"))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    if not lines:
        return tuple(f"{name}: secret or computed, differs" for name in step.get("detailedDiff") or {})
    return tuple(line for line in lines if not line.startswith("@@"))


def _shown(inputs: Any) -> list[str]:  # noqa: ANN401 - JSON
    return json.dumps(_without_marks(inputs), indent=1, sort_keys=True).splitlines()


def _without_marks(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Without the provider's own notes (`__defaults`)."""
    if isinstance(value, dict):
        return {key: _without_marks(item) for key, item in value.items() if not key.startswith("__")}
    return [_without_marks(item) for item in value] if isinstance(value, list) else value


def _machines(stack: Stack) -> tuple[MachineChange, ...]:
    """Each machine's changes, in the order of the settings."""
    known = [machine for machine in stack.machines if machine.host_key]
    found = {
        machine.name: MachineChange(machine.name, "new", "is not reached yet: a deploy would enrol it")
        for machine in stack.machines
        if not machine.host_key
    }
    with ThreadPoolExecutor() as pool:
        refusals = dict(zip((machine.name for machine in known), pool.map(lambda m: _refusal(stack, m), known)))  # noqa: B905
    found |= {name: MachineChange(name, "silent", why) for name, why in refusals.items() if why}
    if reached := [name for name, why in refusals.items() if not why]:
        found |= {change.name: change for change in _dry_run(stack, reached)}
    return tuple(found[machine.name] for machine in stack.machines)


def _refusal(stack: Stack, machine: Machine) -> str:
    """Why a machine gives no way in, "" when it does."""
    try:
        goal = target(stack.name, stack.root, stack.settings, machine, None)
        open_strictly(goal, lambda text: None, wait=_REACH_SECONDS).close()
    except BastideError as error:
        return f"{error.message}; next: {error.hint}"
    return ""


def _dry_run(stack: Stack, names: list[str]) -> Iterator[MachineChange]:
    with tempfile.TemporaryDirectory(prefix="bastide-plan-") as folder:
        listed = Path(folder) / "files.jsonl"
        limits = [word for name in names for word in ("--limit", name)]
        words = ["pyinfra", "--dry", "--json", "--data", f"differences={listed}", *limits]
        done = run(
            [*words, "hosts/inventory.py", "deploys/site.py"],
            cwd=stack.root,
            env={"BASTIDE_STACK": stack.name},
            check=False,
            timeout=_PYINFRA_SECONDS,
        )
        plan = _plan(done)
        files = (
            [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()] if listed.exists() else []
        )
    for name in names:
        yield MachineChange(
            name,
            "compared",
            operations=tuple(item["name"] for item in plan if name in item["hosts_with_change"]),
            files=tuple(
                FileChange(item["path"], item["secret"], item["note"], tuple(item["diff"]))
                for item in files
                if item["machine"] == name
            ),
            said=said_of(name, done.stderr),
        )


def said_of(name: str, text: str) -> tuple[str, ...]:
    """The warnings of a machine in what pyinfra printed, each once."""
    found = (said for one, said in machine_lines(text) if one == name and said.startswith(_WARNING))
    return tuple(dict.fromkeys(said.removeprefix(_WARNING) for said in found))


def _plan(done: Completed) -> list[dict[str, Any]]:
    try:
        operations: list[dict[str, Any]] = json.loads(done.stdout)["plan"]
    except (ValueError, KeyError):
        operations = []
    if not done.ok or not operations:
        raise StackError(f"the machines could not be compared:\n{tail_of(done.stderr)}", "mend that, and try again")
    return operations
