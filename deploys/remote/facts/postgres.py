"""Runs on the machine: what its Postgres says, if it leads."""

from __future__ import annotations

import json
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.postgres import DatabasesRequest, DatabasesState, ReplicationState


# a superuser who looks names up in a schema of somebody else runs his functions (PostgreSQL 17 manual, 5.10.3)
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


def _as_leader(query: str) -> str:
    """The JSON that a query gives on the leader; else "null"."""
    return _sql("postgres", f"select case when pg_is_in_recovery() then 'null' else ({query}) end") or "null"


def _sql(database: str, query: str) -> str:
    words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{database}' user=postgres", "-f", "-")
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
