"""What `pyinfra --dry --json` says: what a deploy would change on each machine.

A machine without a recorded host key is not looked at: the first contact writes records, and a plan writes nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bastide.console import Completed, run, tail_of
from bastide.errors import BastideError, StackError
from bastide.machines import Machine
from bastide.transcript import machine_lines
from hosts.commands.comparison.changes import FileChange, MachineChange
from hosts.enrolment.first_contact import open_strictly, target
from hosts.stack import Stack

_PYINFRA_SECONDS = 600.0
_REACH_SECONDS = 10.0
# how a deploy warns of what it finds on a machine (host.log)
_WARNING = "! "


def machine_changes(stack: Stack) -> tuple[MachineChange, ...]:
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


def said_of(name: str, text: str) -> tuple[str, ...]:
    """The warnings of a machine in what pyinfra printed, each once."""
    found = (said for one, said in machine_lines(text) if one == name and said.startswith(_WARNING))
    return tuple(dict.fromkeys(said.removeprefix(_WARNING) for said in found))


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


def _plan(done: Completed) -> list[dict[str, Any]]:
    try:
        operations: list[dict[str, Any]] = json.loads(done.stdout)["plan"]
    except (ValueError, KeyError):
        operations = []
    if not done.ok or not operations:
        raise StackError(f"the machines could not be compared:\n{tail_of(done.stderr)}", "mend that, and try again")
    return operations
