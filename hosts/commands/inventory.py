"""`inventory`: what checks, people and CI reach the machines by, without a secret in it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from bastide.command_line import Command
from bastide.console import say, warn
from bastide.machines import build_dir, inventory_path, save_inventory
from hosts.stack import Stack, load_stack
from hosts.transport.known_hosts import with_host_keys
from hosts.transport.ssh_config import write_ssh_config


def write_inventory(stack: Stack) -> None:
    """Write inventory.json and ssh_config, and say so."""
    machines = with_host_keys(stack.machines, stack.name, stack.root)
    if missing := [machine.name for machine in machines if not machine.host_key]:
        warn(f"{', '.join(missing)}: no recorded host key yet, `python -m hosts enroll` makes the first contact")
    inventory = replace(stack, machines=machines).inventory()
    build_dir(stack.name, stack.root).mkdir(parents=True, exist_ok=True)
    save_inventory(inventory, inventory_path(stack.name, stack.root))
    config = write_ssh_config(inventory, stack.root)
    say(f"wrote {shown(inventory_path(stack.name, stack.root), stack.root)} and {shown(config, stack.root)}")


def shown(path: Path, root: Path) -> str:
    """A path as people type it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _run(options: argparse.Namespace, root: Path) -> int:
    write_inventory(load_stack(options.stack, root))
    return 0


COMMAND = Command("inventory", "build/<stack>/inventory.json (no secret in it) and ssh_config", _run)
