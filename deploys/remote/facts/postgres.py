"""Runs on the machine: what its Postgres says, if it leads."""

from __future__ import annotations

import json
import subprocess

from deploys.remote.facts.common import at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from deploys.facts.postgres import DatabasesRequest, DatabasesState, InForce, ReplicationState


# a superuser who looks names up in a schema of somebody else runs his functions (PostgreSQL 17 manual, 5.10.3)
_IN_FORCE = """select json_build_object('loaded', extract(epoch from pg_conf_load_time()),
  'by_hand', array(select distinct name from pg_file_settings where sourcefile like '%/postgresql.auto.conf'),
  'rules', array(select line from regexp_split_to_table(pg_read_file('pg_hba.conf'), E'\\n') line
    where line !~ '^\\s*(#|$)'))"""
# what our own statements hold of a password, in the superuser's statistics of statements (PostgreSQL 17 manual, F.32)
_VERIFIERS = """select count(*) from public.pg_stat_statements
  where userid = 10 and query ~* 'scram-sha-256\\$[0-9]'"""
# /usr/bin/psql is Debian's wrapper in Perl around it, which takes three times as long (pg_wrapper(1))
_PSQL = "/usr/lib/postgresql/17/bin/psql"
_READ = ("postgresql.conf", "postgresql.base.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
_OWN_NAMES = "set search_path = pg_catalog, pg_temp;"


def databases(wanted: DatabasesRequest) -> DatabasesState | None:
    """Roles, databases and rights, as far as they are asked for, if this machine's Postgres leads; else None."""
    found: DatabasesState | None = json.loads(_as_leader(wanted["query"]))
    if found is None:
        return None
    there = [name for name in wanted["inside"] if name in found["databases"]]
    found["inside"] = {name: json.loads(_sql(name, wanted["inside"][name]) or "null") for name in there}
    return found


def replication(query: str) -> ReplicationState | None:
    """What `query` (it gives JSON) says of replication, if this machine's Postgres leads; else None."""
    found: ReplicationState | None = json.loads(_as_leader(query))
    return found


def in_force(data: str) -> InForce | None:
    """What was set by hand in this machine's server, its rules of access, and what it has not read; None without."""
    # where the extension is not there yet only the first one is answered
    said = _sql("postgres", f"{_IN_FORCE};\n{_VERIFIERS}", stops=False).splitlines()
    if not said:
        return None
    found = json.loads(said[0])
    unread = [name for name in _READ if _changed(at(data) / name) > found["loaded"]]
    verifiers = int(said[1]) if len(said) > 1 else 0
    return {"by_hand": found["by_hand"], "rules": found["rules"], "unread": unread, "verifiers": verifiers}


def _changed(path: Path) -> float:
    """When a file was last changed, by whatever time it claims (inode(7), ctime); 0 for none."""
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0


def _as_leader(query: str) -> str:
    """The JSON that a query gives on the leader; else "null"."""
    return _sql("postgres", f"select case when pg_is_in_recovery() then 'null' else ({query}) end") or "null"


def _sql(database: str, query: str, *, stops: bool = True) -> str:
    words = (_PSQL, "-XAtq", "-v", f"ON_ERROR_STOP={int(stops)}", "-d", f"dbname='{database}' user=postgres", "-f", "-")
    try:
        done = subprocess.run(
            ("runuser", "-u", "postgres", "--", *words),
            input=f"{_OWN_NAMES}\n{query}",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
