"""Why a restore failed, in two lines: what with which object, and what to do. It says nothing of the rows."""

from __future__ import annotations

import re

from bastide.errors import BastideError
from hosts.commands.databases.dump_file import DumpFile

_ENTRY = re.compile(r"pg_restore: from TOC entry [\d; ]+ (.+)")
_FAILED = re.compile(r"^(?:pg_restore: error: |psql:<stdin>:(?P<line>\d+): (?:error: )?)(?:could not execute query: )?")
# far_end.py sends as many before those of the dump
_LINES_BEFORE = 2
_LOST = re.compile(r"server closed|connection|terminating")
_HINTS = {
    r"role \S+ does not exist": "declare it in the stack file, or change what names it on the old server",
    r"collation .+ does not exist": 'give it a collation of ICU\'s on the old server ("de-x-icu"), and dump again',
    r"must be (superuser|owner)|permission denied": "a superuser's: leave it out on the old server",
    r"(function|relation|type|schema|operator) .+ does not exist": "what it needs is not in the dump, or is named "
    "without its schema: ALTER FUNCTION ... SET search_path on the old server, and dump again",
    r"end of file|could not read from input|could not find block": "the file was cut off: copy or dump it again",
    r"No space left|could not extend": "a larger volume or disk, then the same command again",
    _LOST.pattern: "`make cluster` says how the databases are; then the same command: it looks whether it is empty",
}
_ELSE = "mend that on the old server, dump again; docs/how-to/move-your-database.md"


def explained(said: list[str], file: DumpFile) -> BastideError:
    """What failed with which object, and what to do. Of rows nothing is shown but what the error itself names."""
    failed = next((line for line in said if "ERROR:" in line or "error:" in line), said[-1] if said else "no reason")
    reason = _FAILED.sub("", failed).removeprefix("ERROR:").strip()
    where = _where(said, failed, file)
    # the word that it was committed may have been lost with the connection
    kept = "what was not committed is gone" if _LOST.search(reason) else "nothing was changed"
    return BastideError(f"{reason}{f' (in {where})' if where else ''}; {kept}", _hint(reason))


def _where(said: list[str], failed: str, file: DumpFile) -> str:
    """The object that failed: as pg_restore names it, by the rows that failed, or by the statement's line."""
    for line in said:
        if entry := _ENTRY.match(line):
            return entry[1].rpartition(" ")[0]
        if rows := re.match(r"CONTEXT:  COPY (\S+), line (\d+)", line):
            return f"the rows of {rows[1]}, line {rows[2]}"
    number = (found["line"] if (found := _FAILED.match(failed)) else None) if not file.is_custom else None
    return file.statement_at(int(number) - _LINES_BEFORE) if number else ""


def _hint(reason: str) -> str:
    return next((hint for pattern, hint in _HINTS.items() if re.search(pattern, reason)), _ELSE)
