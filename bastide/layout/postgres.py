"""PostgreSQL, Patroni, and what routes clients to the leader."""

from __future__ import annotations

from collections.abc import Iterator

from bastide.layout.model import OpenPort
from bastide.settings import Settings

VERSION = 17
PORT, PATRONI_PORT = 5432, 8008
"""PostgreSQL's (IANA), and the one that Patroni's manual uses."""
LEADER_PORT, REPLICA_PORT, POOL_PORT = 5000, 5001, 6432
"""Where each site's HAProxy routes to whoever leads and to the replicas, and its PgBouncer listens; loopback only."""
ACCOUNT = "postgres"
POOL_ACCOUNT, POOL_FOLDER, POOL_SOCKETS = "pgbouncer", "/etc/pgbouncer", "/run/pgbouncer"
"""PgBouncer's own: every program on a site speaks to it before it logs in, so it can read nothing of the server's."""
UNIT = "patroni.service"
FOLDER = "/etc/bastide/postgres"
"""Certificates."""
CONFIG = "/etc/patroni/config.yml"
DATA = f"/var/lib/postgresql/{VERSION}/bastide"


def open_ports(settings: Settings) -> Iterator[OpenPort]:
    """The servers' own and their Patroni's, in the mesh."""
    if settings.postgres:
        yield OpenPort("postgres", PORT, "tcp", "mesh", "PostgreSQL")
        yield OpenPort("postgres", PATRONI_PORT, "tcp", "mesh", "Patroni's API")
