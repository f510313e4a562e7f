"""What the cloud knows, in memory and in one JSON file.

JSON and not SQLite: the whole of it is some hundred kilobytes, it is always written as one piece, and somebody who
looks into a broken lab can read it. Each change is a new file that replaces the old one by rename, after an fsync:
whatever kills the process, the file is the state before or after a change and never between. It holds user_data,
which may hold secrets, hence mode 0600.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bastide.errors import LabError

VERSION = 1
COLLECTIONS = (
    "servers",
    "networks",
    "firewalls",
    "primary_ips",
    "ssh_keys",
    "placement_groups",
    "zones",
    "volumes",
    "actions",
)
# a file from before these collections lacks them
_YOUNGER = ("zones", "volumes")
# finished actions beyond this many are forgotten, oldest first: clients ask for the ones they have just been given
KEPT_ACTIONS = 1000

Record = dict[str, Any]
Table = dict[int, Record]


@dataclass
class Tables:
    """All records by id, one table per collection. Touch only inside `State.change` or `State.read`."""

    last_id: int = 1000
    cursors: dict[str, int] = field(default_factory=dict)
    servers: Table = field(default_factory=dict)
    networks: Table = field(default_factory=dict)
    firewalls: Table = field(default_factory=dict)
    primary_ips: Table = field(default_factory=dict)
    ssh_keys: Table = field(default_factory=dict)
    placement_groups: Table = field(default_factory=dict)
    zones: Table = field(default_factory=dict)
    volumes: Table = field(default_factory=dict)
    actions: Table = field(default_factory=dict)

    def new_id(self) -> int:
        """The next id. One row of numbers for everything, so that no two things can be mistaken for each other."""
        self.last_id += 1
        return self.last_id

    def table(self, collection: str) -> Table:
        """The table of a collection, by its name in the URL."""
        table: Table = getattr(self, collection)
        return table


class State:
    """The one holder of `Tables`: all reads and changes are serialised by its lock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._depth = 0
        self._written = file.read_bytes() if file.exists() else b""
        self._tables = _parsed(self._written, file) if self._written else Tables()
        self._saved = _encoded(self._tables)

    @contextmanager
    def read(self) -> Iterator[Tables]:
        """Look at the records. They must not be kept or changed."""
        with self._lock:
            yield self._tables

    @contextmanager
    def change(self, *, durable: bool = True) -> Iterator[Tables]:
        """Change records: all or nothing.

        On an error inside, everything is as it was before. On leaving, the new state is on disk. `durable=False`
        leaves it in memory until the next change (progress of actions). Raises `OSError` when it cannot be written
        (full disk); the change is undone then.
        """
        with self._lock:
            self._depth += 1
            try:
                yield self._tables
                if self._depth == 1:
                    self._save(durable)
            except BaseException:
                if self._depth == 1:
                    self._tables = _parsed(self._saved, self._file)
                raise
            finally:
                self._depth -= 1

    def _save(self, durable: bool) -> None:
        _forget_old_actions(self._tables)
        data = _encoded(self._tables)
        if durable and data != self._written:
            _replace(self._file, data)
            self._written = data
        self._saved = data


def _forget_old_actions(tables: Tables) -> None:
    finished = [key for key, action in tables.actions.items() if action["status"] != "running"]
    for key in finished[: max(0, len(finished) - KEPT_ACTIONS)]:
        del tables.actions[key]


def _encoded(tables: Tables) -> bytes:
    plain: Record = {"version": VERSION, "last_id": tables.last_id, "cursors": tables.cursors}
    plain.update({name: tables.table(name) for name in COLLECTIONS})
    return json.dumps(plain, separators=(",", ":")).encode()


def _parsed(data: bytes, file: Path) -> Tables:
    hint = "`lab down` removes this lab and its machines; `lab up` then makes a new one"
    try:
        plain = json.loads(data)
        version = plain["version"]
        tables = Tables(last_id=plain["last_id"], cursors=plain["cursors"])
        for name in COLLECTIONS:
            records = plain.get(name, {}) if name in _YOUNGER else plain[name]
            tables.table(name).update({int(key): record for key, record in records.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{file} is not a state file of the local cloud: {error!r}", hint) from error
    if version != VERSION:
        raise LabError(f"{file} was written by another version of the local cloud ({version}, not {VERSION})", hint)
    return tables


def _replace(file: Path, data: bytes) -> None:
    """Write beside, fsync, rename over (rename(2): atomic), fsync the folder, whose entry needs that too (fsync(2))."""
    beside = file.with_name(file.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
