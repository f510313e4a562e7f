"""`python -m hosts`: enrol the machines of a stack, and write what reaches them.

    python -m hosts enroll       first contact with every machine, then as `inventory`
    python -m hosts inventory    build/<stack>/inventory.json (no secret in it) and ssh_config
    python -m hosts ssh-config   build/<stack>/ssh_config from inventory.json: needs no passphrase and no pulumi (CI)
    python -m hosts access       before `pulumi up`: would the cloud firewall of the settings still let you in?
    python -m hosts plan         what `pulumi up` and a deploy would change; changes nothing
    python -m hosts drift        what is not as it was made; asks the provider too, changes nothing
    python -m hosts status       one line a machine: how it is, from which revision, how fresh its proofs are
    python -m hosts doctor       what this machine and this stack lack before `make up`
    python -m hosts rekey        add another master secret; with --finish remove the older one
    python -m hosts vpn          print the file with which an administrator's device joins the mesh
    python -m hosts db-password  the password of a role of the database, at a terminal or into a file

Exit codes of plan and drift: 0 nothing differs, 2 something does, 1 error (docs/reference/exit-codes.md).
enroll, inventory, plan and drift read the stack and therefore need its passphrase.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bastide.console import guard, say, step, warn
from bastide.errors import BastideError
from bastide.machines import Machine, build_dir, inventory_path, load_inventory, save_inventory
from hosts.commands import db_password, vpn
from hosts.commands.access import refuse_lockout
from hosts.commands.comparison.changes import Kind
from hosts.commands.comparison.compare import compare
from hosts.commands.doctor import show_findings
from hosts.commands.rekey import begin, finish
from hosts.commands.status import show_status
from hosts.enrolment.first_contact import open_strictly, target
from hosts.stack import Stack, load_stack, stack_name
from hosts.transport.ssh import with_host_keys, write_ssh_config


def main() -> int:
    """Run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hosts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "verb",
        choices=(
            *("inventory", "enroll", "ssh-config", "access", "plan", "drift", "status", "doctor", "rekey", "vpn"),
            "db-password",
        ),
    )
    parser.add_argument("--stack", default=stack_name(), help="default: $BASTIDE_STACK, else lab")
    parser.add_argument("--json", action="store_true", help="plan, drift, status: for scripts, on standard output")
    parser.add_argument("--finish", action="store_true", help="rekey: remove the masters that nothing uses any more")
    parser.add_argument("--person", default="", help="vpn: whose device")
    parser.add_argument("--new-key", action="store_true", help="vpn: make the key here; it is shown and kept nowhere")
    parser.add_argument("--role", default="", help="db-password: whose")
    parser.add_argument("--to", default="", help="db-password: a file to write, readable by you alone")
    arguments = parser.parse_args()
    root = Path.cwd()
    if arguments.verb in ("plan", "drift"):
        return _compare(arguments.verb, arguments.stack, root, as_json=arguments.json)
    if arguments.verb == "status":
        return show_status(arguments.stack, root, as_json=arguments.json)
    if arguments.verb == "rekey":
        (finish if arguments.finish else begin)(arguments.stack, root)
        return 0
    if arguments.verb == "vpn":
        return vpn.main(arguments.stack, root, arguments.person, make_key=arguments.new_key)
    if arguments.verb == "db-password":
        return db_password.main(arguments.stack, root, arguments.role, arguments.to)
    if arguments.verb == "doctor":
        return show_findings(arguments.stack, root)
    if arguments.verb == "ssh-config":
        say(f"wrote {_shown(write_ssh_config(load_inventory(inventory_path(arguments.stack, root)), root), root)}")
        return 0
    if arguments.verb == "access":
        refuse_lockout(arguments.stack, root)
        return 0
    stack = load_stack(arguments.stack, root)
    failed = enroll(stack) if arguments.verb == "enroll" else 0
    write_inventory(stack)
    return 1 if failed else 0


def _compare(kind: Kind, stack: str, root: Path, *, as_json: bool) -> int:
    if as_json:
        changes = compare(stack, root, kind)
        say(json.dumps(changes.to_json(), indent=1))
        return changes.code
    with step("comparing the provider and the machines with the stack file"):
        changes = compare(stack, root, kind)
    for line in changes.lines():
        say(line)
    return changes.code


def enroll(stack: Stack) -> int:
    """Connect to every machine at once, enrolling those that are new. Says what fails; returns how many did."""

    def one(machine: Machine) -> bool:
        try:
            goal = target(stack.name, stack.root, stack.settings, machine, stack.keyring)
            open_strictly(goal, lambda text: say(f"    {machine.name}: {text}")).close()
        except BastideError as error:
            warn(f"{machine.name}: {error.message}" + (f"\n   next: {error.hint}" if error.hint else ""))
            return False
        return True

    with step(f"Reaching {len(stack.machines)} machines with strict host keys"), ThreadPoolExecutor() as pool:
        return list(pool.map(one, stack.machines)).count(False)


def write_inventory(stack: Stack) -> None:
    """Write inventory.json and ssh_config, and say so."""
    machines = with_host_keys(stack.machines, stack.name, stack.root)
    if missing := [machine.name for machine in machines if not machine.host_key]:
        warn(f"{', '.join(missing)}: no recorded host key yet, `python -m hosts enroll` makes the first contact")
    inventory = replace(stack, machines=machines).inventory()
    build_dir(stack.name, stack.root).mkdir(parents=True, exist_ok=True)
    save_inventory(inventory, inventory_path(stack.name, stack.root))
    config = write_ssh_config(inventory, stack.root)
    say(f"wrote {_shown(inventory_path(stack.name, stack.root), stack.root)} and {_shown(config, stack.root)}")


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


if __name__ == "__main__":
    guard(main)
