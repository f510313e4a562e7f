"""The configuration file with which every ssh client reaches the machines of a stack: `ssh -F`, testinfra, people.

Deploys have a connector of their own (`connector.py`), which reads no such file and keeps the same rules.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from bastide.errors import StackError
from bastide.files import write_whole
from bastide.machines import Inventory, Machine, build_dir, identity_path, ssh_config_path
from bastide.settings import key_blob
from hosts.transport.known_hosts import alias, known_hosts_path

_LONGEST_NAME = 32  # useradd(8)
_SOCKET_PATH_MAX = 107 - 17  # sun_path (unix(7)) without its NUL, less the suffix that ssh adds while it binds
# ssh_config(5): a key and nothing else opens a session, and only the recorded host key is accepted
_SAFE = {
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "none",
    "HostKeyAlgorithms": "ssh-ed25519",
    "CheckHostIP": "no",
    # a host that offers further keys must not write into the committed file
    "UpdateHostKeys": "no",
    "ForwardAgent": "no",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ControlMaster": "auto",
    "ControlPersist": "60",
}


def write_ssh_config(inventory: Inventory, root: Path = Path()) -> Path:
    """Write build/<stack>/ssh_config and return its path. Needs no secret: CI makes it from inventory.json.

    Beside it stands that of the checks' account, where there is one; its prober is reached as always.
    """
    stack, root = inventory.stack, root.absolute()
    folder = build_dir(stack, root)
    folder.mkdir(parents=True, exist_ok=True)
    sockets = _socket_folder(folder)
    outside = _prober(inventory, folder, sockets, _key(inventory.identity, root))
    paths = []
    for gated, user, identity in (
        (False, inventory.user, inventory.identity),
        (True, inventory.verifier, inventory.verifier_identity),
    ):
        path = ssh_config_path(stack, root, gated=gated)
        if not user:
            path.unlink(missing_ok=True)
            continue
        shown = ssh_config_path(stack, gated=gated)
        blocks = [_machine(inventory, machine, user, root, sockets, _key(identity, root)) for machine in inventory]
        head = f"# ssh -F {shown} <name>; made anew by `python -m hosts`\n"
        write_whole(path, "".join([head, *blocks, outside]))
        paths.append(path)
    return paths[0]


def _machine(
    inventory: Inventory, machine: Machine, user: str, root: Path, sockets: Path, common: dict[str, str]
) -> str:
    stack = inventory.stack
    host = {"HostName": inventory.ssh_address(machine), "User": user, "Port": str(inventory.port)}
    name = alias(stack, machine.name, machine.id)
    return _block(machine.name, {**host, **_pinned(name, known_hosts_path(stack, root), sockets), **common})


def _prober(inventory: Inventory, folder: Path, sockets: Path, common: dict[str, str]) -> str:
    prober = inventory.prober
    if prober is None:
        return ""
    host = {"HostName": prober.address, "User": prober.user, "Port": "22"}
    known, name = folder / "prober.known_hosts", alias(inventory.stack, "prober", prober.address)
    write_whole(known, f"{name} {key_blob(prober.host_key)}\n")
    return _block(prober.name, {**host, **_pinned(name, known, sockets), **common})


def _key(identity: str, root: Path) -> dict[str, str]:
    return {"IdentityFile": _quoted(identity_path(identity, root)), **_SAFE}


def _pinned(host_key_alias: str, known: Path, sockets: Path) -> dict[str, str]:
    return {
        "HostKeyAlias": host_key_alias,
        "UserKnownHostsFile": _quoted(known),
        # another user's connection is another one: `-l NAME` must not ride on who logged in before
        "ControlPath": _quoted(sockets / hashlib.sha256(host_key_alias.encode()).hexdigest()[:8], "-%r"),
    }


def _block(name: str, options: dict[str, str]) -> str:
    return f"\nHost {name}\n" + "".join(f"  {key} {value}\n" for key, value in options.items())


def _quoted(path: Path, tokens: str = "") -> str:
    """A path in ssh_config(5): in quotes for spaces, its % doubled since these options expand tokens; then `tokens`."""
    return '"' + str(path).replace("%", "%%") + tokens + '"'


def _socket_folder(folder: Path) -> Path:
    """A private folder for ControlMaster sockets: beside ssh_config, or below /tmp where that path is too long.

    It lives and dies with the configuration, since ssh does not start at all when the folder is missing.
    """
    near = folder / "ssh"
    if len(str(near / f"12345678-{'n' * _LONGEST_NAME}")) > _SOCKET_PATH_MAX:
        tag = hashlib.sha256(str(near).encode()).hexdigest()[:8]
        near = Path(tempfile.gettempdir()) / f"bastide-{os.getuid()}-{tag}"
    near.mkdir(mode=0o700, exist_ok=True)
    if near.is_symlink() or near.stat().st_uid != os.getuid():
        raise StackError(f"{near} belongs to somebody else", "remove it, or have it removed")
    near.chmod(0o700)
    return near
