"""What the leading Postgres says; `None` of one that does not lead."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import postgres as on_machine


class DatabasesRequest(TypedDict):
    """Two queries that give JSON, of the cluster and of each database in `names` (deploys/postgres/rights.py)."""

    query: str
    inside: str
    names: list[str]


class Role(TypedDict):
    """A role. `limit`: of connections; `digest`: of its verifier; `ours`: whether it carries our mark."""

    login: bool
    limit: int
    digest: str
    powers: list[str]
    member_of: list[str]
    ours: bool


class Database(TypedDict):
    """A database. `connect`: who may; `more`: other rights, "role RIGHT"."""

    owner: str
    connect: list[str]
    more: list[str]


class Inside(TypedDict):
    """The schema public of a database, rights as "role RIGHT". `bare`: relations without any; `later`: by default."""

    extensions: list[str]
    schema_owner: str
    schema: list[str]
    tables: list[str]
    owners: list[str]
    bare: int
    later: list[str]


class DatabasesState(TypedDict):
    """By name. `own`: digests of the members' own roles, `None` before there are any."""

    roles: dict[str, Role]
    own: dict[str, str] | None
    databases: dict[str, Database]
    inside: dict[str, Inside | None]


class Slot(TypedDict):
    """A replication slot; `kept`: bytes of log that it holds back."""

    name: str
    active: bool
    status: str | None
    kept: float | None


class ReplicationState(TypedDict):
    """What the query of deploys/commands/cluster.py gives."""

    slots: list[Slot]


DATABASES = Fact(on_machine.databases)
REPLICATION = Fact(on_machine.replication)
"""Asked by a query that gives JSON."""
