"""`enroll`: the first contact with every machine that is new, then the inventory with what was recorded."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bastide.command_line import Command
from bastide.console import say, step, warn
from bastide.errors import BastideError
from bastide.machines import Machine
from hosts.commands.inventory import write_inventory
from hosts.enrolment.first_contact import open_strictly, target
from hosts.stack import Stack, load_stack


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


def _run(options: argparse.Namespace, root: Path) -> int:
    stack = load_stack(options.stack, root)
    failed = enroll(stack)
    write_inventory(stack)
    return 1 if failed else 0


COMMAND = Command("enroll", "first contact with every machine, then as `inventory`", _run)
