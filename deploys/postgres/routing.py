"""The ways to the database: HAProxy to whoever leads, and PgBouncer, which applications on the same machine come to."""

from __future__ import annotations

from pydantic import SecretStr

from bastide import cluster
from bastide.cluster import Cluster
from bastide.layout.postgres import ACCOUNT, FOLDER, LEADER_PORT, PATRONI_PORT, POOL_PORT, PORT, REPLICA_PORT
from bastide.secrets import Keyring
from deploys.operations.files import File
from deploys.render import render

RELOAD_HAPROXY = """\
haproxy -q -c -f /etc/haproxy/haproxy.cfg && systemctl -q enable haproxy || exit 1
systemctl -q is-active haproxy && systemctl reload haproxy || systemctl restart haproxy
"""
# where it listens is read at its start alone, and Debian's package has it listen at ::1 as well
RELOAD_PGBOUNCER = """\
systemctl daemon-reload; systemctl -q enable pgbouncer || exit 1
ss -Hltnp | grep '"pgbouncer"' | grep -qvF ' 127.0.0.1:' && systemctl stop pgbouncer
systemctl -q is-active pgbouncer && systemctl reload pgbouncer || systemctl restart pgbouncer
"""


def haproxy_file(wanted: Cluster) -> File:
    """HAProxy 3.0's configuration."""
    text = render(
        "postgres/haproxy.cfg.j2",
        listeners=[
            {
                "name": "leader",
                "port": LEADER_PORT,
                # Patroni's word that it holds the lease, and that its server runs: it holds it for a second longer than
                # the server when it hands over, and whoever is sent there meanwhile is refused
                "checks": ("/primary", "/health"),
                # `inter` is also how long connecting may take, TLS and a lost packet included
                "looks": "inter 1s fastinter 100ms downinter 200ms",
            },
            {
                "name": "replicas",
                "port": REPLICA_PORT,
                "checks": (f"/replica?lag={wanted.postgres.max_failover_lag_mb}MB",),
                "looks": "inter 1s fastinter 200ms downinter 2s",
            },
        ],
        sites=wanted.sites,
        folder=FOLDER,
        patroni_port=PATRONI_PORT,
        postgres_port=PORT,
    )
    return File("/etc/haproxy/haproxy.cfg", text)


def pool_files(wanted: Cluster, keyring: Keyring) -> tuple[File, ...]:
    """PgBouncer 1.24's configuration, and what it keeps of the roles' passwords: the server's own verifiers."""
    text = render(
        "postgres/pgbouncer.ini.j2",
        databases=wanted.postgres.databases,
        leader_port=LEADER_PORT,
        replica_port=REPLICA_PORT,
        port=POOL_PORT,
        folder=FOLDER,
    )
    lines = [
        f'"{role}" "{cluster.role_verifier(keyring, role).get_secret_value()}"\n' for role in wanted.postgres.roles
    ]
    return (
        File("/etc/pgbouncer/pgbouncer.ini", text, owner=ACCOUNT, group=ACCOUNT),
        File("/etc/pgbouncer/userlist.txt", SecretStr("".join(lines)), mode=0o600, owner=ACCOUNT, group=ACCOUNT),
    )
