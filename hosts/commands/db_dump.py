"""`db-dump`: a database into a file of the operator's own, whole or not at all; nothing is left on the server."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bastide.command_line import Command, Parser
from bastide.console import say
from bastide.errors import BastideError
from hosts.commands.databases.cluster import declared, leader
from hosts.commands.databases.progress import Progress, size
from hosts.commands.databases.session import FarEndFailed, ask, converse, site
from hosts.commands.exclusive.signals import interrupt, signals_to
from hosts.stack import Stack, load_stack


def dump(stack: Stack, database: str, to: str, *, machine: str = "", schema_only: bool = False) -> None:
    """Write a dump in pg_dump's custom format to the new file `to`, readable by its owner alone.

    `machine` is the site that is read, by itself the one that leads. Raises `BastideError`; there is no file then.
    """
    declared(stack, database, "db-dump")
    if not to:
        raise BastideError("into which file?", f"make db-dump database={database} to=FILE")
    if machine and machine not in stack.settings.sites:
        raise BastideError(f"{machine} has no databases", f"machine= is one of {', '.join(stack.settings.sites)}")
    source = machine or leader(stack)
    request = {"database": database, "schema_only": schema_only}
    path = Path(to)
    with signals_to(interrupt), _beside(path) as file, site(stack, source) as client:
        seen = ask(client, "look", request)
        if seen["owner"] is None:
            raise BastideError(f"{source} has no database {database}", "`make deploy only=postgres` makes it")
        what = "the schema of " if schema_only else ""
        say(f"• {what}{database}, {size(seen['bytes'])} on {source}, goes into {path} …")
        with Progress() as progress:

            def take(data: bytes) -> None:
                file.write(data)
                progress.moved(len(data))

            try:
                converse(client, "dump", request, take)
            except FarEndFailed as error:
                raise _explained(error, source) from None
        file.flush()
        os.fsync(file.fileno())
        done = progress.summary()
    say(f"✓ {path}: {done}")
    say(f" next: `make db-import database=NAME from={path}` where it shall be; it holds all of the data, keep it so")


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when all of it is there. One that a killed run left is taken over."""
    part = path.with_name(f"{path.name}.part")
    if path.exists() or path.is_symlink():
        raise BastideError(f"{path}: File exists", "name a file that does not exist yet: to=FILE")
    try:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BastideError(f"{part}: {error.strerror}", "name a file in a folder of yours: to=FILE") from None
    with os.fdopen(number, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BastideError(f"{part} is being written by another run", "wait for it, or name another file") from None
        try:
            os.fchmod(number, 0o600)
            os.ftruncate(number, 0)
            yield file
            # never over a file that came meanwhile
            os.link(part, path)
        except OSError as error:
            raise BastideError(
                f"{path}: {error.strerror or error}", "make room, or name another file: to=FILE"
            ) from None
        finally:
            part.unlink(missing_ok=True)


def _explained(error: FarEndFailed, source: str) -> BastideError:
    text = "\n".join(error.lines)
    if "conflict with recovery" in text:
        return BastideError(
            f"{source} is a replica, and had to go on with what the leader cleaned up: the dump took too long",
            "without machine= the leader is read; or see settings.postgres.replica_reads, docs/how-to/postgres.md",
        )
    # by what pg_dump waits no longer for a lock
    if "due to statement timeout" in text:
        return BastideError("somebody alters a table, for longer than a minute", "the same command again afterwards")
    reason = next((line for line in error.lines if "error:" in line), error.message)
    return BastideError(reason.removeprefix("pg_dump: error: "), error.hint)


def _arguments(parser: Parser) -> None:
    parser.add_argument("--database", default="", help="which one of the stack file's")
    parser.add_argument("--to", default="", help="a file to write, readable by you alone")
    parser.add_argument("--machine", default="", help="the site that is read; by itself the one that leads")
    parser.add_argument("--schema-only", action="store_true", help="what there is, without its rows")


def _run(options: argparse.Namespace, root: Path) -> int:
    dump(
        load_stack(options.stack, root),
        options.database,
        options.to,
        machine=options.machine,
        schema_only=options.schema_only,
    )
    return 0


COMMAND = Command("db-dump", "a database into a file of yours", _run, _arguments)
