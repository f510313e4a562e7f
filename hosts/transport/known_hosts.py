"""The recorded host keys of a stack's machines.

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bastide.errors import HostKeyError, StackError
from bastide.files import write_whole
from bastide.machines import Machine

_HEADER = (
    "# Public ssh host keys of the stack's machines, each bound to its server's id. Written at the first contact\n"
    "# with a new server (`python -m hosts enroll`, or pyinfra). Commit it: it tells a machine from an impostor.\n"
)
_PENDING = "# pending "


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


def fingerprint(key: str) -> str:
    """A key as people compare it: the SHA256 form of ssh-keygen(1), -l."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


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
