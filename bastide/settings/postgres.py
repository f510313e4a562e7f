"""`settings.postgres`: the database cluster over both sites, and what lies in it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Area

Right = Literal["owner", "writer", "reader"]
# PostgreSQL 17 manual, 5.15 and 22.5 (predefined roles begin with pg_); the others are the platform's own
_TAKEN_ROLES = {"postgres", "public", "none", "replicator", "rewinder", "pooler", "patroni", "watcher"}
_TAKEN_DATABASES = {"postgres", "template0", "template1", "pgbouncer", "all", "replication", "sameuser", "samerole"}
# contrib modules of PostgreSQL 17 that its manual marks as trusted or that only add functions of no danger (F.1 ff.)
EXTENSIONS = {
    "btree_gin", "btree_gist", "citext", "cube", "earthdistance", "fuzzystrmatch", "hstore", "intarray", "isn",
    "lo", "ltree", "pg_trgm", "pgcrypto", "seg", "tablefunc", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent",
    "uuid-ossp",
}  # fmt: skip

REPLAY_WAITS = 30
"""Seconds for which PostgreSQL by itself has a replica wait for reads before it goes on."""


def _identifier(value: str) -> str:
    # 63 bytes: NAMEDATALEN less one. Anything else of a name is quoted wherever it stands.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", value):
        raise ValueError(
            "must be letters, digits, underscores, dots and hyphens, at most 63, beginning with a letter or underscore"
        )
    return value


def _role(value: str) -> str:
    if value.lower() in _TAKEN_ROLES or value.lower().startswith("pg_"):
        raise ValueError("is a name of PostgreSQL's or the platform's own; choose another")
    return _identifier(value)


def _database(value: str) -> str:
    # a name with such an ending is PgBouncer's for another way to a database
    if value.lower() in _TAKEN_DATABASES or value.endswith(("_replica", "_session")):
        raise ValueError("is a name of PostgreSQL's or the platform's own; choose another")
    # PgBouncer takes 63 characters, and calls the other ways NAME_replica and NAME_session
    if len(value) > 55:
        raise ValueError("must have at most 55 characters: its replicas are reached as NAME_replica")
    return _identifier(value)


def _schema(value: str) -> str:
    if value.lower().startswith("pg_") or value.lower() == "information_schema":
        raise ValueError("is a schema of PostgreSQL's own")
    return _identifier(value)


def _extension(value: str) -> str:
    if value not in EXTENSIONS:
        raise ValueError(f"must be one of {', '.join(sorted(EXTENSIONS))}")
    return value


def _table(value: str) -> str:
    schema, dot, table = value.partition(".")
    if not (schema and dot and table):
        raise ValueError("must be SCHEMA.TABLE, without quotes")
    return value


# PostgreSQL 17 manual, F.14: what an extension needs has to be there before it
_NEEDS = {"earthdistance": "cube"}

RoleName = Annotated[str, AfterValidator(_role)]
SchemaName = Annotated[str, AfterValidator(_schema)]
DatabaseName = Annotated[str, AfterValidator(_database)]


class Database(Area):
    """One database, and who may do what in it. Taking it out of the file never drops it."""

    roles: Annotated[dict[RoleName, Right], Field(min_length=1)]
    """Who may log in to it: `owner` (all, one role only), `writer` (read and write rows) or `reader` (read rows)."""
    schemas: Annotated[tuple[SchemaName, ...], Field(min_length=1)] = ("public",)
    """Schemas in which the owner has all, and writers and readers their rights. In any other they have none."""
    extensions: tuple[Annotated[str, AfterValidator(_extension)], ...] = ()
    """Extensions that come with PostgreSQL, made by the platform."""
    unlogged: tuple[Annotated[str, AfterValidator(_table)], ...] = ()
    """Tables (SCHEMA.TABLE) that may be unlogged: no other site has them, and after a crash they are empty."""
    connections: Annotated[int, Field(ge=1, le=200)] = 20
    """Connections to the server that each role may use at once on each site; PgBouncer shares them out."""
    session_connections: Annotated[int, Field(ge=1, le=50)] = 1
    """Further ones that a client keeps for as long as it is connected (NAME_session): dumps, migrations, LISTEN."""

    @property
    def owner(self) -> str:
        """The one role that has all."""
        return next(role for role, right in self.roles.items() if right == "owner")

    @property
    def most_connections(self) -> int:
        """All that a role may use at once on each site."""
        return self.connections + self.session_connections

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        owners = [name for name, right in self.roles.items() if right == "owner"]
        if len(owners) != 1:
            raise ValueError(f"roles must have exactly one owner (got {len(owners)})")
        if len(set(self.extensions)) != len(self.extensions):
            raise ValueError("extensions names one twice")
        if len(set(self.unlogged)) != len(self.unlogged):
            raise ValueError("unlogged names one twice")
        for name, needed in _NEEDS.items():
            if name in self.extensions and needed not in self.extensions[: self.extensions.index(name)]:
                raise ValueError(f"extensions: {name} needs {needed}: name it before")
        return self


class ReplicaReads(Area):
    """How long reads on a replica may last when the leader has cleaned up what they need (PostgreSQL 17, 26.4.2)."""

    max_standby_streaming_delay_seconds: Annotated[int, Field(ge=1, le=86_400)] = REPLAY_WAITS
    """Seconds that a replica waits for a read; price: it may be as far behind, and a failover catches up first."""
    hot_standby_feedback: bool = False
    """Whether the leader keeps rows that a read on a replica needs; price: its tables grow as long as that lasts."""


class Postgres(Area):
    """PostgreSQL 17 under Patroni on primary and standbys, with etcd on every machine."""

    durability: Literal["zero-loss", "fast"] = "zero-loss"
    """`zero-loss`: a commit waits for the other site, and no acknowledged one is lost; `fast`: it does not wait."""
    without_standby: Literal["continue", "stop"] = "continue"
    """With zero-loss, when no standby is left: writes go on, on one site alone, or they stop until one is back."""
    max_failover_lag_mb: Annotated[int, Field(ge=1, le=1024)] = 16
    """With fast: a standby that is further behind does not take over (megabytes of WAL)."""
    max_connections: Annotated[int, Field(ge=20, le=1000)] = 200
    """Connections that the server takes, those of replication and administration among them."""
    replica_reads: Annotated[ReplicaReads, Field(default_factory=ReplicaReads)]
    """Long reads on replicas, and what they may cost."""
    databases: Annotated[dict[DatabaseName, Database], Field(default_factory=dict)]
    """Databases by name."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of all declared roles."""
        return tuple(dict.fromkeys(name for database in self.databases.values() for name in database.roles))

    def connections(self, sites: int) -> int:
        """How many the pools of so many sites may use together, and ten for replication, Patroni and people."""
        return sites * sum(one.most_connections * len(one.roles) for one in self.databases.values()) + 10

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.durability == "fast" and self.without_standby == "stop":
            raise ValueError("without_standby: stop belongs to durability zero-loss: with fast nothing waits")
        return self
