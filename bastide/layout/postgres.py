"""PostgreSQL, Patroni, and what routes clients to the leader."""

from __future__ import annotations

from collections.abc import Iterator

from bastide.layout.model import Listener, OpenPort
from bastide.settings import Settings

VERSION = 17
PORT, PATRONI_PORT = 5432, 8008
"""PostgreSQL's (IANA), and the one that Patroni's manual uses."""
LEADER_PORT, REPLICA_PORT, POOL_PORT = 5000, 5001, 6432
"""Where each site's HAProxy routes to whoever leads and to the replicas, and its PgBouncer listens; loopback only."""
ACCOUNT, HOME, SOCKETS = "postgres", "/var/lib/postgresql", "/run/postgresql"
POOL_ACCOUNT, POOL_FOLDER, POOL_SOCKETS = "pgbouncer", "/etc/pgbouncer", "/run/pgbouncer"
"""PgBouncer's own: every program on a site speaks to it before it logs in, so it can read nothing of the server's."""
ROUTER_ACCOUNT, ROUTER_FOLDER = "haproxy", "/run/haproxy"
ROUTER_SOCKET = f"{ROUTER_FOLDER}/master.sock"
"""HAProxy's own, and where its main process is asked and told."""
UNIT, ROUTER_UNIT, POOL_UNIT = "patroni.service", "haproxy.service", "pgbouncer.service"
POOL_LISTENER = "pgbouncer.socket"
"""Holds the pool's places to listen, whichever process is the pool."""
FOLDER = "/etc/bastide/postgres"
"""Certificates."""
CONFIG = "/etc/patroni/config.yml"
PROGRAM = "/usr/local/lib/bastide/patroni"
"""Debian's Patroni, started so that only counts what is named here of what all members share in etcd."""
ROUTER_CONFIG, POOL_CONFIG = "/etc/haproxy/haproxy.cfg", f"{POOL_FOLDER}/pgbouncer.ini"
TAKEN_WHOLE = {UNIT: CONFIG, ROUTER_UNIT: ROUTER_CONFIG, POOL_UNIT: POOL_CONFIG}
"""Units of packages whose one file of settings is ours."""
DATA = f"{HOME}/{VERSION}/bastide"


def open_ports(settings: Settings) -> Iterator[OpenPort]:
    """The servers' own and their Patroni's, in the mesh."""
    if settings.postgres:
        yield OpenPort("postgres", PORT, "tcp", "mesh", "PostgreSQL")
        yield OpenPort("postgres", PATRONI_PORT, "tcp", "mesh", "Patroni's API")


def listeners(settings: Settings, machine: str) -> Iterator[Listener]:
    """What a site listens on. Patroni starts the server, so that it is one of its unit's."""
    if settings.postgres and machine in settings.sites:
        move = "see docs/how-to/move-your-database.md, or move that to another port"
        yield Listener(PORT, "tcp", (UNIT,), "PostgreSQL", move)
        yield Listener(PATRONI_PORT, "tcp", (UNIT,), "Patroni")
        yield Listener(LEADER_PORT, "tcp", (ROUTER_UNIT,), "HAProxy")
        yield Listener(REPLICA_PORT, "tcp", (ROUTER_UNIT,), "HAProxy")
        yield Listener(POOL_PORT, "tcp", (POOL_UNIT, POOL_LISTENER), "PgBouncer")
