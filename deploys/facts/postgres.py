"""What the leading Postgres says; `None` of one that does not lead."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import postgres as on_machine


class DatabasesRequest(TypedDict):
    """Queries that give JSON: of the cluster, and of each database by its name (deploys/postgres/rights.py)."""

    query: str
    inside: dict[str, str]


class Role(TypedDict):
    """A role. `limit`: of connections; `digest`: of its verifier; `ours`: whether it carries our mark."""

    login: bool
    limit: int
    digest: str
    powers: list[str]
    member_of: list[str]
    ours: bool


class Database(TypedDict):
    """A database."""

    owner: str


class Inside(TypedDict):
    """Inside of a database: its extensions, and the statements that are left to do for rights as declared."""

    extensions: list[str]
    plan: list[str]


class DatabasesState(TypedDict):
    """By name. `own`: digests of the members' own roles, `None` before there are any. `less`: statements that take away
    what a role or a database is told otherwise than all."""

    roles: dict[str, Role]
    own: dict[str, str] | None
    less: list[str]
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


class InForce(TypedDict):
    """What a server goes by. `by_hand`: names of settings that ALTER SYSTEM left; `rules`: the lines of pg_hba.conf;
    `unread`: files that were changed after the server last read them; `verifiers`: statements of the superuser that
    hold one, in the statistics of statements."""

    by_hand: list[str]
    rules: list[str]
    unread: list[str]
    verifiers: int


DATABASES = Fact(on_machine.databases)
REPLICATION = Fact(on_machine.replication)
"""Asked by a query that gives JSON."""
IN_FORCE = Fact(on_machine.in_force)
"""Asked by the data directory; `None` of a server that does not answer."""
