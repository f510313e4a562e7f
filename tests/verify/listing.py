"""The scripts that checks run as root on each machine of a stack, as digests: `python -m tests.verify.listing`.

Reads an inventory (JSON) from standard input and the stack's plain settings, asks no machine, and prints
{machine: {SHA-256 of a script's text: its name}}. A deploy writes it onto the machines (`bastide.checks`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bastide.console import exit_with
from bastide.machines import inventory_from
from bastide.stackfile import read, stack_path
from tests.verify.probes.listed import allowed
from tests.verify.probes.world import ROOT, World


def listing(inventory_text: str, root: Path = ROOT) -> dict[str, dict[str, str]]:
    """All of it. Raises `BastideError` for an inventory or a stack file that cannot be read."""
    inventory = inventory_from(inventory_text, "the inventory", "run `make inventory`")
    world = World(inventory.stack, read(stack_path(inventory.stack, root)), inventory, root / "none", root=root)
    return {machine.name: allowed(world, machine) for machine in inventory}


def main() -> None:
    """Print it."""
    print(json.dumps(listing(sys.stdin.read())))


if __name__ == "__main__":
    exit_with(main)
