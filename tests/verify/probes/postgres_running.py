"""What the settings ask of what runs: PostgreSQL's settings in force, PgBouncer's and HAProxy's, and who is let in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from bastide.layout.postgres import (
    DATA,
    FOLDER,
    LEADER_PORT,
    PATRONI_PORT,
    POOL_FOLDER,
    POOL_PORT,
    PORT,
    REPLICA_PORT,
)
from bastide.settings import Settings
from tests.verify.probes.postgres_rules import PINNED, shared_settings

# PostgreSQL 17 manual: 19.5.1 (what a commit waits for), 30.1 (what outlives a power cut)
DURABLE = {"synchronous_commit": ("on", "remote_apply"), "fsync": ("on",), "full_page_writes": ("on",)}
# what a role or a database may not be told otherwise, since the page says it of all: who is logged (19.8, pgaudit), how
# a password is kept (19.3.2), and what becomes of a page with a wrong checksum (19.17)
_LOGGED = re.compile(r"pgaudit\.|log_")
_HELD = re.compile(r"(password_encryption|ignore_checksum_failure|zero_damaged_pages)=")
# what initdb wrote, and what differs from machine to machine
_ANY = (
    *("DateStyle", "TimeZone", "log_timezone", "lc_messages", "lc_monetary", "lc_numeric", "lc_time"),
    *("default_text_search_config", "dynamic_shared_memory_type", "max_wal_size", "min_wal_size"),
    *("shared_buffers", "effective_cache_size", "maintenance_work_mem", "work_mem"),
    # whom a replica follows is judged by itself, and whom a commit waits for by what it does
    *("primary_conninfo", "primary_slot_name", "synchronous_standby_names"),
)
# who asks at the socket is shown what holds there: nothing (19.3.1)
_OF_TCP = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
_COMMAND_LINE = (  # what Patroni keeps equal among members (Patroni 4.0 manual, "Important notes")
    *("listen_addresses", "port", "cluster_name", "wal_level", "hot_standby", "max_connections", "max_wal_senders"),
    *("max_prepared_transactions", "max_locks_per_transaction", "track_commit_timestamp", "max_replication_slots"),
    *("max_worker_processes", "wal_log_hints"),
)
_FILES = ("postgresql.conf", "postgresql.base.conf")
# a replica that waits for longer reads than this (seconds) is led to however far behind it is
_REPLAY_WAITS = 30
_ROUTER = (
    *("global", "log /dev/log local0 notice", "maxconn 4000"),
    *("ssl-default-server-options ssl-min-ver TLSv1.2", "defaults", "log global", "mode tcp", "maxconn 2000"),
    *("retries 0", "timeout connect 2s", "timeout check 3s", "timeout client 24h", "timeout server 24h"),
    *("option clitcpka", "option srvtcpka", "option dontlog-normal"),
)
_UNITS = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40, "us": 1, "ms": 1000, "s": 10**6, "min": 6 * 10**7}


def declared_settings(settings: Settings, machine: str, stack: str) -> dict[str, str | None]:
    """All that may be set in a server, with its value; `None`: whatever its machine needs."""
    assert settings.postgres
    recovery = ("", "_lsn", "_name", "_time", "_xid")
    found: dict[str, str | None] = dict.fromkeys(_ANY)
    found |= {
        name: str(value) for name, value in shared_settings(settings.postgres)["postgresql"]["parameters"].items()
    }
    found |= dict.fromkeys(_OF_TCP) | PINNED
    return found | {
        "cluster_name": stack,
        "listen_addresses": settings.mesh[machine],
        "port": str(PORT),
        "unix_socket_directories": "/var/run/postgresql",
        "ssl": "on",
        "ssl_ca_file": f"{FOLDER}/ca.crt",
        "ssl_cert_file": f"{FOLDER}/server.crt",
        "ssl_key_file": f"{FOLDER}/server.key",
        "ssl_min_protocol_version": "TLSv1.2",
        "hba_file": f"{DATA}/pg_hba.conf",
        "ident_file": f"{DATA}/pg_ident.conf",
        "max_locks_per_transaction": "64",
        "max_prepared_transactions": "0",
        "max_worker_processes": "8",
        "track_commit_timestamp": "off",
        "recovery_target_timeline": "latest",
        **{f"recovery_target{what}": "" for what in recovery},
    }


def settings_differ(rows: Iterable[dict[str, str]], declared: dict[str, str | None]) -> Iterator[str]:
    """Each setting in force that nobody declared, that has another value, or that came by another way. `rows`: of
    pg_settings, those that somebody set."""
    for row in rows:
        name, value = row["name"], row["value"]
        if row["file"] == "postgresql.auto.conf":
            yield f"{name} was set by hand (ALTER SYSTEM)"
        elif row["source"] == "command line" and name not in _COMMAND_LINE:
            yield f"{name} was given on the server's command line"
        elif row["source"] not in ("command line", "configuration file"):
            yield f"{name} is set for everybody, for the superuser, or by the environment ({row['source']})"
        elif row["source"] == "configuration file" and row["file"] not in _FILES:
            yield f"{name} comes from {row['file'] or 'another file'}"
        if name not in declared:
            yield f"{name} is set, and nobody declared it"
        elif (wanted := declared[name]) is not None and not _same(value, row["unit"], wanted):
            yield f"{name} is {value}{row['unit']}, not {wanted}"


def not_durable(held: dict[str, str], *, waits: bool) -> list[str]:
    """Each setting by which a server keeps less than what it acknowledged."""
    return [
        f"{name} is {held.get(name)}"
        for name, good in DURABLE.items()
        if (waits or name != "synchronous_commit") and held.get(name) not in good
    ]


def not_waiting(overrides: Iterable[str]) -> list[str]:
    """Roles and databases whose commits do not wait, out of lines "role in database: name=value"."""
    wanted = re.compile(r"synchronous_commit=(?!on$|remote_apply$|true$|yes$|1$)")
    return [line for line in overrides if wanted.match(line.rpartition(": ")[2])]


def exempt(overrides: Iterable[str]) -> list[str]:
    """Roles and databases that are logged otherwise than all."""
    return [line for line in overrides if _LOGGED.match(line.rpartition(": ")[2])]


def told_otherwise(overrides: Iterable[str]) -> list[str]:
    """Roles and databases to which something else does not apply that the page says of all."""
    return [line for line in overrides if _HELD.match(line.rpartition(": ")[2])]


def pool_settings(clients: str) -> dict[str, str]:
    """What PgBouncer goes by where that is not its default (PgBouncer 1.24 manual); `clients`: what it promises."""
    return {
        # systemd listens for it, and it listens nowhere else
        "listen_port": str(POOL_PORT),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": f"{POOL_FOLDER}/userlist.txt",
        "client_tls_sslmode": "require",
        "client_tls_cert_file": f"{POOL_FOLDER}/server.crt",
        "client_tls_key_file": f"{POOL_FOLDER}/server.key",
        "server_tls_sslmode": "verify-ca",
        "server_tls_ca_file": f"{FOLDER}/ca.crt",
        "pool_mode": "transaction",
        "max_prepared_statements": "200",
        "max_client_conn": clients,
        "query_wait_timeout": "60",
        "server_connect_timeout": "3",
        "server_login_retry": "0.05",
        "server_check_delay": "5",
        "tcp_keepidle": "5",
        "tcp_keepintvl": "3",
        "tcp_keepcnt": "3",
        "tcp_user_timeout": "10000",
        # what a pool cannot keep for one client among many: none of it decides what a commit waits for
        "ignore_startup_parameters": "extra_float_digits,statement_timeout,lock_timeout,"
        "idle_in_transaction_session_timeout,idle_session_timeout,transaction_timeout,geqo,jit,"
        "default_transaction_isolation",
        "pidfile": "",
        "logfile": "",
        "syslog": "1",
        "conffile": f"{POOL_FOLDER}/pgbouncer.ini",
        # which it says in another way than its defaults
        "unix_socket_mode": "511",
        "verbose": "0",
    }


def pool_differs(found: dict[str, list[str]], declared: dict[str, str]) -> Iterator[str]:
    """Each setting of PgBouncer that is not as declared; what is not declared has PgBouncer's default."""
    for name, (value, default) in found.items():
        wanted = declared.get(name, default)
        if value != wanted:
            yield f"{name} is {value or 'nothing'}, not {wanted or 'nothing'}"
    yield from (f"{name} is not known to it" for name in declared if name not in found)


def router_lines(settings: Settings) -> list[str]:
    """What HAProxy's file must say, line by line (HAProxy 3.0 manual, 3, 4.2 and 5.2), without comments."""
    wanted = settings.postgres
    if wanted is None:
        return []
    waits = wanted.replica_reads.max_standby_streaming_delay_seconds > _REPLAY_WAITS
    replica = "/replica" if waits else f"/replica?lag={wanted.max_failover_lag_mb}MB"
    lines = [*_ROUTER]
    for name, port, checks, looks in (
        ("leader", LEADER_PORT, ("/primary", "/health"), "inter 1s fastinter 100ms downinter 200ms"),
        ("replicas", REPLICA_PORT, (replica,), "inter 1s fastinter 200ms downinter 2s"),
    ):
        lines += [f"listen {name}", f"bind 127.0.0.1:{port}", "option httpchk"]
        for path in checks:
            lines += ["http-check connect default", f"http-check send meth OPTIONS uri {path}"]
            lines += ["http-check expect status 200"]
        tls = f"check port {PATRONI_PORT} check-ssl verify required ca-file {FOLDER}/ca.crt"
        lines.append(f"default-server {tls} {looks} fall 2 rise 1 on-marked-down shutdown-sessions")
        lines += [f"server {one} {settings.mesh[one]}:{PORT} verifyhost {one}" for one in settings.sites]
    return lines


def router_limits(settings: Settings) -> dict[str, str]:
    """How many connections HAProxy takes, at once and a second: what its file says, and beyond that as many as come."""
    most = {"Maxconn": "4000", "ConnRateLimit": "0", "SessRateLimit": "0", "SslRateLimit": "0"}
    ways = ("leader", "replicas") if settings.postgres else ()
    servers = {f"{way}/{name}": " 1" for way in ways for name in settings.sites}
    return {**most, **dict.fromkeys(ways, "2000 0 OPEN"), **servers}


def router_differs(found: list[str], declared: list[str]) -> list[str]:
    """Lines that are there and should not be, and the other way round; the same lines in another order as well."""
    more = [f"it says {line}" for line in found if line not in declared]
    missing = [f"it does not say {line}" for line in declared if line not in found]
    other = ["its lines stand in another order, or twice"] if found != declared else []
    return [*more, *missing] or other


def pool_ways(settings: Settings) -> dict[str, list[str]]:
    """Where each name of PgBouncer's must lead."""
    found = {"pgbouncer": ["", str(POOL_PORT), "pgbouncer", "pgbouncer", "statement"]}
    for name in settings.postgres.databases if settings.postgres else ():
        for more, port, mode in (
            # "": as all, which is by transaction
            ("", LEADER_PORT, ""),
            ("_session", LEADER_PORT, "session"),
            ("_replica", REPLICA_PORT, ""),
        ):
            found[f"{name}{more}"] = ["127.0.0.1", str(port), name, "", mode]
    return found


def let_in(ways: Iterable[dict[str, str]], roles: dict[str, list[str]], own: str) -> list[str]:
    """All who came another way than the declared ones and were not refused, or that were asked for no password; who
    got the same answer from several addresses is named once.

    `roles`: each with the databases that it may use, over TLS and from a site's address in the mesh (`own`) alone.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for way in ways:
        user, database, answer = way["user"], way["database"], way["answer"]
        may = database in roles.get(user, ()) or (user, database) == ("replicator", "replication")
        may = may and way["source"] == own and way["tls"] == "TLS"
        fine = answer == "asks for scram" if may else answer.startswith("refuses")
        if not fine:
            who = f"{user} to {database}" if database else user
            found.setdefault((who, "over TLS" if way["tls"] else "without TLS", answer), []).append(way["source"])
    return [f"{who} from {', '.join(sources)} {how}: {answer}" for (who, how, answer), sources in found.items()]


def day(at: float) -> str:
    """A moment (seconds since the epoch), to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _same(value: str, unit: str, wanted: str) -> bool:
    """Whether a value in the server's own unit ("8kB", "ms") is one that a file has ("256MB", "30s", "200")."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", wanted)
    if not match or not value.lstrip("-").isdigit():
        return value == wanted
    times, name = re.fullmatch(r"(\d*)([A-Za-z]*)", unit or "").groups()  # type: ignore[union-attr]
    base = int(times or 1) * _UNITS.get(name, 1)
    return int(value) * base == int(match[1]) * (_UNITS[match[2]] if match[2] else base)
