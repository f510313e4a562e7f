"""Runs on a database server as root: does what happens there come into the journal?

A word is said in the name of a connection, in a change of tables that is taken back, and as a name at the pool. It is
looked for where people would look for it. Nothing is left but these lines.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

_PSQL = "/usr/lib/postgresql/17/bin/psql"
_SECONDS = 8
_SINCE = "3 minutes ago"


def logged(port: int, word: str) -> dict[str, bool]:
    """`port`: the pool's. Returns whether this server leads, and what was found in the journal."""
    if not word.isalnum():
        sys.exit("the word is no word")  # it stands in SQL
    place = f"dbname=postgres application_name={word}c"
    leads = _psql("select pg_is_in_recovery()", place) == "f"
    if leads:
        # a statement of one name, whatever is said beside it: statistics of statements do not grow by it
        _psql(f"begin; create temporary table bastide_check (/* {word}d */); rollback", "dbname=postgres")
    _psql("select 1", f"host=127.0.0.1 port={port} dbname=postgres user={word}p sslmode=require password=none")
    wanted = {"connections": f"={word}c", "pool": f"{word}p@", **({"changes": f"{word}d"} if leads else {})}
    end = time.monotonic() + _SECONDS
    while True:
        words = ("journalctl", "-q", "-o", "cat", "--since", _SINCE, "-u", "patroni", "-u", "pgbouncer", "-g", word)
        text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        found = {what: sign in text for what, sign in wanted.items()}
        if all(found.values()) or time.monotonic() > end:
            return {"leads": leads, **found}
        time.sleep(0.2)


def _psql(query: str, place: str) -> str:
    words = ("runuser", "-u", "postgres", "--", _PSQL, "-XAtq", "-d", place, "-c", query)
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False).stdout.strip()


if __name__ == "__main__":
    print(json.dumps(logged(int(sys.argv[1]), sys.argv[2])))
