"""`db-import`: a dump from anywhere into a declared, empty database, all of it or nothing.

What is in it then is as if the declared owner had made it: roles, rights and extensions are the platform's, as the
stack file says them. The dump goes from the operator's file through the leader into the server, and is kept nowhere.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from bastide.cluster import password
from bastide.command_line import Command, Parser
from bastide.console import say, step
from bastide.errors import BastideError
from bastide.layout.postgres import DATA, FOLDER, PORT
from bastide.settings.postgres import EXTENSIONS, Database
from hosts.commands.databases.cluster import declared, leader
from hosts.commands.databases.contents import Contents, chosen, problems
from hosts.commands.databases.dump_file import DumpFile, dump_file
from hosts.commands.databases.failures import explained
from hosts.commands.databases.plain_sql import pieces
from hosts.commands.databases.progress import Progress, size
from hosts.commands.databases.session import FarEndFailed, ask, site
from hosts.commands.exclusive.hold import held
from hosts.commands.exclusive.signals import interrupt, signals_to
from hosts.stack import Stack, load_stack
from hosts.transport.client import PinnedClient

# rows and their indexes, against a dump that is packed and against SQL: a guess on the safe side
_GROWS_PACKED, _GROWS_SQL = 8, 2
# max_wal_size, and what a replica that stays behind may keep (max_slot_wal_keep_size): deploys/postgres/patroni.py
_MOST_LOG_MB = 5 * 1024
_BEGUN = re.compile(r"pg_restore: (?:creating|executing|processing data for|processing|restoring) (.+)")


def restore(stack: Stack, database: str, source: str, *, force: bool = False) -> None:
    """Restore the dump in the file `source` into the database. Raises `BastideError`; nothing has been changed then.

    `force`: though there may not be enough room.
    """
    wanted = declared(stack, database, "db-import")
    if not source:
        raise BastideError("which file?", f"make db-import database={database} from=FILE")
    schemas = frozenset(wanted.schemas)
    file = dump_file(Path(source), schemas)
    with signals_to(interrupt):
        found, size_of_sql = Contents(schemas=schemas), 0
        if not file.is_custom:
            with step(f"{source} is read through"):
                found, size_of_sql = file.read_through()
        with held(stack, "db-import"), site(stack, lead := leader(stack)) as client:
            seen = ask(client, "look", {"database": database, "schemas": sorted(schemas)})
            listed = _listed(client, database, file, found) if file.is_custom else None
            _check(database, wanted, found, seen)
            _check_room(stack, file, database, force=force)
            for one in sorted(found.left_out):
                say(f"  left out: {one}")
            request = _request(stack, lead, database, wanted, listed, file.size if file.is_custom else size_of_sql)
            say(f"• {source} goes into {database} on {lead}: {found.objects} objects …")
            with Progress(request["size"], found.objects if file.is_custom else 0) as progress:
                _restore(client, request, file, progress)
            say(f"✓ {progress.summary()}")
            with step("statistics for the planner"):
                there = ask(client, "finish", {"database": database})
    say(
        f"{database} has {there['tables']} tables with {there['rows']} rows, {there['indexes']} indexes, "
        f"{there['sequences']} sequences, {there['views']} views, {size(there['bytes'])}; all of it belongs to "
        f"{wanted.owner}"
    )
    say(" next: `make verify only=postgres`; then point the application here (docs/how-to/move-your-database.md)")


def _listed(client: PinnedClient, database: str, file: DumpFile, found: Contents) -> str:
    """What of a dump in the custom format is restored; `found` learns what it holds."""
    try:
        answer = ask(client, "contents", {"database": database, "size": file.size}, file.chunks())
    except FarEndFailed as error:
        if "unsupported version" in error.message:
            raise BastideError(
                f"{file.path} was made by a newer pg_dump: {error.message}", "make it with pg_dump 17"
            ) from None
        raise BastideError(
            f"{file.path} cannot be read: {error.message.removeprefix('pg_restore: error: ')}", "copy or dump it again"
        ) from None
    for piece in pieces(answer["schema"].encode(errors="surrogateescape").splitlines(keepends=True)):
        if piece.kind == "statement":
            found.read(piece.bare)
    return chosen(answer["list"], found)


def _check(database: str, wanted: Database, found: Contents, seen: dict[str, Any]) -> None:
    """Raise `BastideError` with the first reason why it would not go."""
    if seen["at_work"]:
        raise BastideError("another import is at work on this machine", "wait for it, then the same command again")
    if not seen["leads"]:
        raise BastideError("another server leads now; nothing was changed", "the same command again")
    if seen["owner"] != wanted.owner:
        what = f"belongs to {seen['owner']}" if seen["owner"] else "does not exist yet"
        raise BastideError(f"the database {database} {what}", "`make deploy only=postgres` makes it as declared")
    why = problems(
        found,
        version=seen["version"],
        declared=wanted.extensions,
        known=seen["roles"],
        offered=EXTENSIONS,
        there=seen["extensions"],
        database=database,
    )
    for message, hint in why:
        raise BastideError(f"{message}; nothing was changed", hint)
    if missing := sorted(set(wanted.schemas) - set(seen["schemas"])):
        raise BastideError(
            f"{database} has no schema {missing[0]} yet; nothing was changed", "`make deploy only=postgres` makes it"
        )
    if there := seen["there"]:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        raise BastideError(
            f"{database} is not empty ({', '.join(there[:3])}{more}): nothing is ever overwritten",
            "docs/how-to/move-your-database.md, `Again, from the beginning`, says how to put aside what is there",
        )


def _check_room(stack: Stack, file: DumpFile, database: str, *, force: bool) -> None:
    """Every site gets all of it, and the log of it besides."""
    packed = file.is_custom or file.is_packed
    grows = file.size * (_GROWS_PACKED if packed else _GROWS_SQL) >> 20
    needed = grows + min(grows, _MOST_LOG_MB)
    for name in stack.settings.sites:
        with site(stack, name) as client:
            free = ask(client, "room", {"database": database, "data": DATA})["free_mb"]
        if free < needed:
            text = f"{name} has {free} MB free, and {file.path} may need {needed} MB there, with its log"
            if not force:
                raise BastideError(f"{text}; nothing was changed", "a larger volume or disk; force=1 does it anyway")
            say(f"! {text}")


def _request(
    stack: Stack, lead: str, database: str, wanted: Database, listed: str | None, length: int
) -> dict[str, Any]:
    owner = wanted.owner
    return {
        "database": database,
        "owner": owner,
        "password": password(stack.keyring, owner).get_secret_value(),
        "address": stack.settings.mesh[lead],
        "port": PORT,
        "ca": f"{FOLDER}/ca.crt",
        "list": listed,
        "size": length,
    }


def _restore(client: PinnedClient, request: dict[str, Any], file: DumpFile, progress: Progress) -> None:
    said: list[str] = []

    def line(text: str) -> None:
        if begun := _BEGUN.match(text):
            progress.made(begun[1].replace('"', ""))
        else:
            said.append(text)
            del said[:-200]

    def give() -> Any:  # noqa: ANN401 - a generator of bytes
        for data in file.chunks() if file.is_custom else file.statements():
            progress.moved(len(data))
            yield data

    try:
        answer = ask(client, "restore", request, give(), line)
    except FarEndFailed as error:
        raise BastideError(f"{error.message}; look whether {request['database']} is empty",
                           "`make cluster`; then the same command again") from None  # fmt: skip
    if answer["code"]:
        raise explained(said, file)


def _arguments(parser: Parser) -> None:
    parser.add_argument("--database", default="", help="which one of the stack file's; it has to be empty")
    parser.add_argument("--from", dest="source", default="", help="pg_dump's custom format, or SQL, or SQL in gzip")
    parser.add_argument("--force", action="store_true", help="though there may not be enough room")


def _run(options: argparse.Namespace, root: Path) -> int:
    restore(load_stack(options.stack, root), options.database, options.source, force=options.force)
    return 0


COMMAND = Command("db-import", "a dump from anywhere into a declared, empty database", _run, _arguments)
