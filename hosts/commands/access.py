"""Before the cloud firewall changes: would the operator who changes it still get in?

A cloud firewall takes effect at once and has no dead man's switch of its own, so the question is asked before
`pulumi up`, of a machine that can still be reached: which address do I come from?
"""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

from bastide.command_line import Command
from bastide.console import run, warn
from bastide.errors import CommandTimedOut, StackError
from bastide.machines import build_dir, inventory_path, load_inventory
from bastide.settings import Settings
from bastide.stackfile import read, stack_path
from hosts.transport.ssh_address import comes_over_mesh

IMAGE_PORT = 22  # of the provider's images; the cloud firewall leaves it open to the operators
_CONNECT_SECONDS = 10


def refuse_lockout(stack: str, root: Path) -> None:
    """Raise `StackError` when the settings would shut out this operator: the address, or the port that sshd listens on.

    Nothing is asked before the first machines exist. When no machine answers, it says so and lets the change pass:
    the change may be what lets somebody in again.
    """
    settings = read(stack_path(stack, root))
    known = inventory_path(stack, root)
    config = build_dir(stack, root) / "ssh_config"
    if not known.exists() or not config.exists():
        return
    inventory = load_inventory(known)
    # the cloud firewall stands before the servers that are made there, and before no other
    if not (behind := [machine for machine in inventory if machine.provider == "hetzner"]) or not settings.made:
        return
    for machine in behind:
        if not (address := _own_address(machine.name, config, root)):
            continue
        if comes_over_mesh(settings, address):
            return  # inside of the tunnel no cloud firewall sees a port
        if not admitted(settings, address):
            raise StackError(
                f"this would shut you out: you come from {address}, and firewall.operators does not hold it",
                f"add it to settings.firewall.operators in {stack_path(stack)}; nothing has been changed",
            )
        if settings.ssh.open_to == "vpn" and inventory.port != IMAGE_PORT:
            raise StackError(
                f"this would shut you out: port {inventory.port} would be closed, and you do not come over the mesh",
                f"start your tunnel, then `python -m hosts inventory --stack {stack}` and this again",
            )
        if inventory.port not in (settings.ssh.port, IMAGE_PORT):
            raise StackError(
                f"this would shut you out: ssh answers on port {inventory.port}, which the cloud firewall would close",
                f"set ssh.port back to {inventory.port}: it can only be moved away from {IMAGE_PORT}",
            )
        return
    warn("no machine answered, so it could not be checked whether firewall.operators still lets you in")


def admitted(settings: Settings, address: str) -> bool:
    """Whether the cloud firewall of these settings lets `address` (v4 or v6) to ssh, if only to a new server's."""
    come_from = ipaddress.ip_address(address)
    if settings.ssh.open_to == "anywhere":
        return True
    return any(come_from in ipaddress.ip_network(network) for network in settings.firewall.operators)


def _own_address(machine: str, config: Path, root: Path) -> str:
    """The address that the machine sees this operator come from, "" when it does not answer."""
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-o"]
    try:
        # a connection of its own: a shared one may outlive a change of the address
        done = run(
            [*words, "ControlPath=none", machine, 'echo "$SSH_CONNECTION"'],
            cwd=root,
            check=False,
            timeout=_CONNECT_SECONDS + 5,
        )
    except CommandTimedOut:
        return ""
    return done.stdout.split()[0] if done.ok and done.stdout.split() else ""


def _run(options: argparse.Namespace, root: Path) -> int:
    refuse_lockout(options.stack, root)
    return 0


COMMAND = Command("access", "before `pulumi up`: would the cloud firewall of the settings still let you in?", _run)
