"""The scripts that checks run as root on each machine of a stack, as digests: `python -m tests.verify.listing`.

Reads an inventory (JSON) from standard input and the stack's plain settings, asks no machine, and prints
{machine: {SHA-256 of a script's text: its name}}. A deploy writes it onto the machines (`bastide.checks`).
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

from bastide.console import exit_with
from bastide.machines import inventory_from
from bastide.stackfile import read, stack_path
from tests.verify.probes import listed
from tests.verify.probes.world import ROOT, World

_REGISTERS = re.compile(r"^from tests\.verify\.probes\.(batch|listed) import", re.MULTILINE)


def listing(inventory_text: str, root: Path = ROOT) -> dict[str, dict[str, str]]:
    """All of it. Raises `BastideError` for an inventory or a stack file that cannot be read."""
    inventory = inventory_from(inventory_text, "the inventory", "run `make inventory`")
    world = World(inventory.stack, read(stack_path(inventory.stack, root)), inventory, root / "none", root=root)
    for path in sorted(Path(__file__).with_name("probes").glob("*.py")):
        # the others ask no machine, and some bring large libraries
        if _REGISTERS.search(path.read_text(encoding="utf-8")):
            importlib.import_module(f"tests.verify.probes.{path.stem}")
    return {machine.name: listed.allowed(world, machine) for machine in inventory}


def main() -> None:
    """Print it."""
    print(json.dumps(listing(sys.stdin.read())))


if __name__ == "__main__":
    exit_with(main)
