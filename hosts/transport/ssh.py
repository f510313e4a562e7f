"""What ssh needs to know of a stack: the recorded host keys and a configuration file for every ssh client.

`stacks/<stack>.known_hosts` is an ordinary known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") and is committed.
A record is found by an alias that holds the server's id, so that a replaced server never inherits its predecessor's:

    bastide-prod-primary-4711 ssh-ed25519 AAAA... generation=1
    # pending bastide-prod-standby-4712 ssh-ed25519 AAAA... generation=1

A pending line (see `hosts/enrolment/`) is a comment to every ssh client: nobody but the enrolment accepts it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bastide.errors import HostKeyError, StackError
from bastide.files import write_whole
from bastide.machines import Inventory, Machine, build_dir
from bastide.settings import key_blob

_HEADER = (
    "# Public ssh host keys of the stack's machines, each bound to its server's id. Written at the first contact\n"
    "# with a new server (`python -m hosts enroll`, or pyinfra). Commit it: it tells a machine from an impostor.\n"
)
_PENDING = "# pending "
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


@dataclass(frozen=True, order=True)
class Record:
    """One recorded host key. `key` is "ssh-ed25519 AAAA..."; `final` means that no other key is accepted any more."""

    alias: str
    key: str
    generation: int
    final: bool = True

    def line(self) -> str:
        """The record as a line of the file."""
        return f"{'' if self.final else _PENDING}{self.alias} {self.key} generation={self.generation}\n"


def alias(stack: str, name: str, server_id: str) -> str:
    """The name under which a server's host key is recorded."""
    return f"bastide-{stack}-{name}-{server_id}"


def known_hosts_path(stack: str, root: Path = Path()) -> Path:
    """Where the recorded host keys of a stack lie."""
    return root / "stacks" / f"{stack}.known_hosts"


def read_records(path: Path) -> dict[str, Record]:
    """All records of a file by alias; none when there is no such file. Raises `StackError` for a broken line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    records: dict[str, Record] = {}
    for number, line in enumerate(text.splitlines(), 1):
        pending = line.startswith(_PENDING)
        if not line.strip() or (line.startswith("#") and not pending):
            continue
        record = _record(line.removeprefix(_PENDING), final=not pending)
        if record is None or record.alias in records:
            why = "names a server twice" if record else "does not parse"
            raise StackError(f"{path}:{number}: {why}", "restore the file from git (`git log -p` shows how it was)")
        records[record.alias] = record
    return records


def write_record(path: Path, lock: Path, record: Record) -> list[Record]:
    """Put a record into the file, in place of any other of the same machine name.

    `lock` is a file for nothing else: several machines, and several programs, write at once.
    Returns the records of older servers of that name, which this one retires. Raises `HostKeyError` when the same
    server already has a final record of another key: another program was there first.
    """
    with _locked(lock):
        records = read_records(path)
        there = records.get(record.alias)
        if there and there.final:
            if there.key != record.key:
                raise HostKeyError(f"{record.alias} got another host key meanwhile", "run the same command again")
            return []
        retired = [old for old in records.values() if _machine(old) == _machine(record) and old.alias != record.alias]
        for old in retired:
            del records[old.alias]
        records[record.alias] = record
        write_whole(path, _HEADER + "".join(item.line() for item in sorted(records.values())))
    return retired


def with_host_keys(machines: tuple[Machine, ...], stack: str, root: Path) -> tuple[Machine, ...]:
    """The same machines, each with its final recorded host key, or "" where there is none yet."""
    records = read_records(known_hosts_path(stack, root))
    found = []
    for machine in machines:
        record = records.get(alias(stack, machine.name, machine.id))
        found.append(Machine(**{**machine.to_json(), "host_key": record.key if record and record.final else ""}))
    return tuple(found)


def identity_path(identity: str, root: Path) -> Path:
    """The absolute path of a private key as settings name it: `~` or relative to the project."""
    return Path(os.path.abspath(root / Path(identity).expanduser()))  # noqa: PTH100 - a link must stay the link


def write_ssh_config(inventory: Inventory, root: Path = Path()) -> Path:
    """Write build/<stack>/ssh_config and return its path. Needs no secret: CI makes it from inventory.json.

    It is for `ssh -F`, testinfra and people; deploys have a connector of their own.
    """
    stack, root = inventory.stack, root.absolute()
    folder = build_dir(stack, root)
    folder.mkdir(parents=True, exist_ok=True)
    sockets = _socket_folder(folder)
    common = {"IdentityFile": _quoted(identity_path(inventory.identity, root)), **_SAFE}
    blocks = []
    for machine in inventory:
        host = {"HostName": inventory.ssh_address(machine), "User": inventory.user, "Port": str(inventory.port)}
        name = alias(stack, machine.name, machine.id)
        blocks.append(_block(machine.name, {**host, **_pinned(name, known_hosts_path(stack, root), sockets), **common}))
    if prober := inventory.prober:
        host = {"HostName": prober.address, "User": prober.user, "Port": "22"}
        known, name = folder / "prober.known_hosts", alias(stack, "prober", prober.address)
        write_whole(known, f"{name} {key_blob(prober.host_key)}\n")
        blocks.append(_block(prober.name, {**host, **_pinned(name, known, sockets), **common}))
    path = folder / "ssh_config"
    write_whole(
        path, f"# ssh -F {build_dir(stack)}/ssh_config <name>; made anew by `python -m hosts`\n" + "".join(blocks)
    )
    return path


def fingerprint(key: str) -> str:
    """A key as people compare it: the SHA256 form of ssh-keygen(1), -l."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


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


def _record(text: str, *, final: bool) -> Record | None:
    words = text.split()
    if len(words) != 4 or words[1] != "ssh-ed25519" or not words[3].startswith("generation="):
        return None
    number = words[3].removeprefix("generation=")
    return Record(words[0], f"{words[1]} {words[2]}", int(number), final) if number.isdigit() else None


def _machine(record: Record) -> str:
    """The alias without the server's id."""
    return record.alias.rpartition("-")[0]


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Hold a lock between programs and threads.

    Nothing in its body may wait for the network: under pyinfra all machines share one thread (gevent), which a second
    flock(2) would stop for good.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
