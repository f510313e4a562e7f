"""The ways to the database: HAProxy to whoever leads, and PgBouncer, which applications on the same machine come to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

from pydantic import SecretStr

from bastide import cluster
from bastide.authority import Authority
from bastide.cluster import Cluster
from bastide.layout.postgres import (
    FOLDER,
    LEADER_PORT,
    PATRONI_PORT,
    POOL_ACCOUNT,
    POOL_CONFIG,
    POOL_FOLDER,
    POOL_LISTENER,
    POOL_PORT,
    POOL_SOCKETS,
    PORT,
    REPLICA_PORT,
    ROUTER_CONFIG,
    ROUTER_FOLDER,
    ROUTER_SOCKET,
)
from bastide.layout.sandbox import POOL, ROUTER
from bastide.secrets import Keyring
from bastide.settings.postgres import REPLAY_WAITS
from deploys.operations.files import File
from deploys.render import render
from deploys.sandboxed import drop_in

RELOAD_HAPROXY = """\
haproxy -q -c -f /etc/haproxy/haproxy.cfg && systemctl -q enable haproxy || exit 1
systemctl -q is-active haproxy && systemctl reload haproxy || systemctl restart haproxy
"""
_SYSUSERS = "/etc/sysusers.d/bastide-pgbouncer.conf"
MAKE_POOL_ACCOUNT = f"systemd-sysusers {_SYSUSERS}"
CLIENTS = 2000
"""Clients that a pool takes at once."""
# for each client one file, for each connection to a server one; and its own (PgBouncer 1.24 manual, max_client_conn)
FILES = CLIENTS + 1000 + 100
SESSIONS = 4000
"""Sessions that HAProxy has at once: for each two files; and its own."""
_LISTENER_FILE = f"/etc/systemd/system/{POOL_LISTENER}"
_POOL_UNIT_FILE = f"/etc/systemd/system/{POOL.unit}.d/bastide.conf"
# A process that listens by itself, as Debian's package starts it, is in the way of the one that listens for it, and so
# is its folder; this is the one time that clients are refused. Whose account it runs as, how many files it may open and
# what else it may is read at its start alone; and a newer program is run by a new process only: clients wait for that.
RELOAD_PGBOUNCER = f"""\
systemctl daemon-reload; systemctl -q enable {POOL_LISTENER} pgbouncer || exit 1
since=$(systemctl show --timestamp=us+utc -P ActiveEnterTimestamp {POOL_LISTENER})
if ! systemctl -q is-active {POOL_LISTENER} || [ "$(find {_LISTENER_FILE} -newermt "$since")" ]; then
    systemctl stop {POOL_LISTENER} pgbouncer; rm -rf {POOL_SOCKETS}
    systemctl start {POOL_LISTENER} || exit 1
fi
pid=$(systemctl show -P MainPID pgbouncer)
since=$(systemctl show --timestamp=us+utc -P ExecMainStartTimestamp pgbouncer)
[ "$(stat -c %U /proc/$pid)" = {POOL_ACCOUNT} ] && grep -q 'open files *{FILES} ' /proc/$pid/limits &&
    ! grep -q ' ..x. .* (deleted)$' /proc/$pid/maps && [ ! "$(find {_POOL_UNIT_FILE} -newermt "$since")" ] &&
    systemctl reload pgbouncer || systemctl restart pgbouncer
"""
# What common drivers send and a pool cannot keep for one client among many (PgBouncer 1.24 manual,
# ignore_startup_parameters): JDBC extra_float_digits, Go's and Node's pools timeouts. Not search_path: whoever relies
# on it would work in other tables than it thinks.
IGNORED = (
    *("extra_float_digits", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"),
    *("idle_session_timeout", "transaction_timeout", "geqo", "jit", "default_transaction_isolation"),
)


def haproxy_file(wanted: Cluster) -> File:
    """HAProxy 3.0's configuration."""
    # A replica that waits for a long read falls behind: whoever asks for that is not cut off in the midst of it.
    may_wait = wanted.postgres.replica_reads.max_standby_streaming_delay_seconds > REPLAY_WAITS
    replica = "/replica" if may_wait else f"/replica?lag={wanted.postgres.max_failover_lag_mb}MB"
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
                "checks": (replica,),
                "looks": "inter 1s fastinter 200ms downinter 2s",
            },
        ],
        sites=wanted.sites,
        sessions=SESSIONS,
        folder=FOLDER,
        patroni_port=PATRONI_PORT,
        postgres_port=PORT,
    )
    return File(ROUTER_CONFIG, text)


def router_unit_file() -> File:
    """A drop-in to HAProxy's unit."""
    text = render(
        "postgres/haproxy.conf.j2",
        sandbox=ROUTER,
        folder=ROUTER_FOLDER,
        name=PurePosixPath(ROUTER_FOLDER).name,
        socket=ROUTER_SOCKET,
        files=2 * SESSIONS + 200,
    )
    return drop_in(ROUTER, text)


def pool_files(wanted: Cluster, keyring: Keyring) -> tuple[File, ...]:
    """PgBouncer 1.24's configuration, its certificate, and the account that it runs as."""
    text = render(
        "postgres/pgbouncer.ini.j2",
        databases=wanted.postgres.databases,
        leader_port=LEADER_PORT,
        replica_port=REPLICA_PORT,
        port=POOL_PORT,
        folder=FOLDER,
        own_folder=POOL_FOLDER,
        listener=POOL_LISTENER,
        clients=CLIENTS,
        ignored=IGNORED,
    )
    # a server's certificate only: it opens neither a server nor Patroni, whoever gets hold of it
    own = Authority(keyring, "postgres").issue(
        f"{wanted.me.name}-pool", datetime.now(UTC), dns=("localhost",), addresses=("127.0.0.1",), client=False
    )
    return (
        File(POOL_CONFIG, text, owner=POOL_ACCOUNT, group=POOL_ACCOUNT),
        File(f"{POOL_FOLDER}/server.crt", own.certificate),
        File(f"{POOL_FOLDER}/server.key", own.key, mode=0o400, owner=POOL_ACCOUNT, group=POOL_ACCOUNT),
        drop_in(
            POOL,
            render("postgres/pgbouncer.conf.j2", files=FILES, sandbox=POOL, folder=FOLDER, listener=POOL_LISTENER),
        ),
        File(
            _LISTENER_FILE,
            render("postgres/pgbouncer.socket.j2", port=POOL_PORT, sockets=POOL_SOCKETS, account=POOL_ACCOUNT),
        ),
    )


def pool_users_file(wanted: Cluster, keyring: Keyring) -> File:
    """What it keeps of the roles' passwords: the server's own verifiers, and written together with them."""
    lines = [
        f'"{role}" "{cluster.role_verifier(keyring, role).get_secret_value()}"\n' for role in wanted.postgres.roles
    ]
    return File(
        f"{POOL_FOLDER}/userlist.txt",
        SecretStr("".join(lines)),
        mode=0o600,
        owner=POOL_ACCOUNT,
        group=POOL_ACCOUNT,
    )


def pause_plan(wanted: Cluster) -> dict[str, object]:
    """What `deploys/remote/pool.py` must know to have clients wait while the leadership moves.

    `drain`: a transaction that takes longer is cut off by the switchover, as it would be without a pause; together with
    a switchover it stays under the five seconds that a request can wait.
    """
    console = ("psql", "-XAtq", "-h", POOL_SOCKETS, "-p", str(POOL_PORT), "-U", POOL_ACCOUNT, "-d", "pgbouncer")
    return {
        "databases": list(wanted.postgres.databases),
        # its own account is its administrator, at its socket alone (PgBouncer 1.24 manual, "Admin console")
        "admin": ["setpriv", f"--reuid={POOL_ACCOUNT}", f"--regid={POOL_ACCOUNT}", "--clear-groups", *console],
        "url": f"https://{wanted.me.address}:{PATRONI_PORT}",
        "ca": f"{FOLDER}/ca.crt",
        "port": LEADER_PORT,
        "drain": 2.0,
        "longest": 12.0,
    }


def pool_account_file() -> File:
    """sysusers.d(5): the account that the pool runs as."""
    return File(_SYSUSERS, f'u! {POOL_ACCOUNT} - "Pool of database connections" /\n')
