"""What an administrator's device needs to join the mesh: a file for wg-quick(8), as text and as a QR code for phones.

The private key is made on the device and stays there; the file has a place for it. With `--new-key` it is made here,
goes into the file and the code that are shown, and is kept nowhere: not on this computer either.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import TextIO

import segno

from bastide.command_line import Command, Parser
from bastide.errors import BastideError
from bastide.mesh import KEEPALIVE_SECONDS, Mesh, MeshKey, machine_key, mesh_of, new_key
from bastide.settings import Settings
from bastide.stackfile import stack_path
from hosts.stack import Stack, load_stack

PLACE = "PUT-THE-PRIVATE-KEY-OF-THIS-DEVICE-HERE"
_FIRST_DEVICE = 101


def show(stack: str, root: Path, person: str, *, make_key: bool, out: TextIO, tell: TextIO) -> None:
    """Print the file to `out`, and all that is to be said of it to `tell`.

    Raises `BastideError` when there is no mesh, or nobody of this name and no key to be made.
    """
    loaded = load_stack(stack, root)
    mesh = mesh_of(loaded.settings)
    if mesh is None:
        raise BastideError(f"the stack {stack} has no mesh", f"add settings.wireguard to {stack_path(stack)}")
    if not person:
        raise BastideError("whose device is it?", "make vpn person=NAME")
    known = person in mesh.administrators
    if not known and not make_key:
        names = ", ".join(mesh.administrators) or "none"
        raise BastideError(
            f"{person} is no administrator in {stack_path(stack)}: there are {names}",
            f"make a key on the device (`wg genkey | tee private | wg pubkey`) and put its public half under "
            f"settings.wireguard.administrators, with the address {free_address(mesh)}; or here: "
            f"make vpn person={person} keygen=1",
        )
    address = mesh.administrators[person] if known else free_address(mesh)
    pair = new_key() if make_key else None
    text = client_file(loaded, mesh, address, pair)
    out.write(text)
    out.flush()
    if pair:
        _tell_of_key(loaded.settings, stack, person, address, pair, text, tell)
    else:
        tell.write(f" next: put the device's private key in place of {PLACE}, and `wg-quick up` the file\n")
    if len(loaded.keyring.masters) > 1:
        tell.write(
            " note: the machines' keys are changing (docs/how-to/rotate-secrets.md): deploy first, then use it\n"
        )


def client_file(stack: Stack, mesh: Mesh, address: str, pair: MeshKey | None) -> str:
    """The file for wg-quick(8). The machines and nothing else are reached over the mesh, at their public addresses."""
    private = pair.private.get_secret_value() if pair else PLACE
    lines = [f"# The mesh of {stack.name}", "[Interface]", f"Address = {address}/32", f"PrivateKey = {private}"]
    for machine in stack.machines:
        lines += [
            "",
            f"# {machine.name}",
            "[Peer]",
            f"PublicKey = {machine_key(stack.keyring, machine).public}",
            f"AllowedIPs = {mesh.machines[machine.name]}/32",
            f"Endpoint = {machine.address}:{mesh.port}",
            # a device is mostly behind a router that forgets who asked
            f"PersistentKeepalive = {KEEPALIVE_SECONDS}",
        ]
    return "\n".join(lines) + "\n"


def free_address(mesh: Mesh) -> str:
    """An address that nobody in the mesh has, above the machines' where there is room. Raises `BastideError`."""
    whole = list(ipaddress.IPv4Network(mesh.range).hosts())
    for address in (*whole[_FIRST_DEVICE - 1 :], *whole):
        if str(address) not in mesh.everybody:
            return str(address)
    raise BastideError(f"every address of {mesh.range} is taken", "take a larger settings.wireguard.range")


def _tell_of_key(
    settings: Settings, stack: str, person: str, address: str, pair: MeshKey, text: str, tell: TextIO
) -> None:
    segno.make(text, error="l").terminal(out=tell, compact=True)
    tell.write(f"the private key stands above and nowhere else. Put the public one into {stack_path(stack)}:\n\n")
    tell.write("    wireguard:\n      administrators:\n")
    tell.write(f"        {person}:\n          key: {pair.public}\n          address: {address}\n\n")
    if settings.wireguard and person in settings.wireguard.administrators:
        tell.write(f"the device that {person} has until now is out with that\n")
    tell.write(" next: `make deploy`; until then no machine knows this key\n")


def _arguments(parser: Parser) -> None:
    parser.add_argument("--person", default="", help="whose device")
    parser.add_argument("--new-key", action="store_true", help="make the key here; it is shown and kept nowhere")


def _run(options: argparse.Namespace, root: Path) -> int:
    show(options.stack, root, options.person, make_key=options.new_key, out=sys.stdout, tell=sys.stderr)
    return 0


COMMAND = Command("vpn", "print the file with which an administrator's device joins the mesh", _run, _arguments)
