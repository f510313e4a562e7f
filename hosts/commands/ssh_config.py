"""`ssh-config`: how every ssh client reaches the machines, from the inventory alone: no passphrase, no pulumi."""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.command_line import Command
from bastide.console import say
from bastide.machines import inventory_path, load_inventory
from hosts.commands.inventory import shown
from hosts.transport.ssh_config import write_ssh_config


def _run(options: argparse.Namespace, root: Path) -> int:
    inventory = load_inventory(inventory_path(options.stack, root))
    say(f"wrote {shown(write_ssh_config(inventory, root), root)}")
    return 0


COMMAND = Command(
    "ssh-config", "build/<stack>/ssh_config from inventory.json: needs no passphrase and no pulumi (CI)", _run
)
