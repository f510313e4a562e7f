"""What the settings ask of Postgres and Patroni beside rights: who may connect, and what all members share."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

from bastide.settings import Postgres, Settings


class Rule(NamedTuple):
    """A row of pg_hba_file_rules, or what it must be (PostgreSQL 17 manual, 20.1)."""

    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    method: str
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = (self.type, ",".join(self.databases), ",".join(self.users), self.address, self.method, *self.options)
        return " ".join(filter(None, words))


def rule_of(row: dict[str, Any]) -> Rule:
    """A row as the server shows it. One that it does not understand, and so does not go by, is a rule of type error."""
    if row["error"]:
        return Rule("an error:", (row["error"],), (), "", "")
    address = row["address"] or ""
    if address and row["netmask"]:
        address = str(ipaddress.ip_network(f"{address}/{row['netmask']}", strict=False))
    names = tuple(row["database"] or ()), tuple(row["user"] or ())
    return Rule(row["type"], *names, address, row["method"], tuple(row["options"] or ()))


def declared_rules(settings: Settings) -> list[Rule]:
    """All there may be, in their order: the first that fits counts.

    By the socket comes the superuser alone, as the account of his name; over the network, over TLS and with a password,
    a site's machines alone: the members for replication and for rewinding, and each role for its databases.
    """
    databases = settings.postgres.databases if settings.postgres else {}
    pairs = [("replication", "replicator"), ("postgres", "rewinder")]
    pairs += [(name, role) for name, database in databases.items() for role in database.roles]
    return [
        Rule("local", ("all",), ("postgres",), "", "peer"),
        Rule("local", ("all",), ("all",), "", "reject"),
        *(
            Rule("hostssl", (database,), (role,), f"{settings.mesh[site]}/32", "scram-sha-256")
            for site in settings.sites
            for database, role in pairs
        ),
        Rule("host", ("all",), ("all",), "all", "reject"),
    ]


def rules_differ(there: list[Rule], declared: list[Rule]) -> Iterator[str]:
    """Each line that is one too many or missing, and whether those that are left stand in another order."""
    yield from (f"a line that nobody declared: {rule}" for rule in there if rule not in declared)
    yield from (f"a line is missing: {rule}" for rule in declared if rule not in there)
    if [rule for rule in there if rule in declared] != [rule for rule in declared if rule in there]:
        yield "its lines stand in another order"


def shared_settings(postgres: Postgres) -> dict[str, Any]:
    """What all members must share (Patroni 4.0 manual, "Dynamic Configuration Settings"), whole: of what is not named
    there Patroni's and PostgreSQL's own defaults hold."""
    waits = postgres.durability == "zero-loss"
    return {
        # how soon a leader that etcd does not hear gives up: the least that Patroni takes, and what its rule
        # loop_wait + 2 * retry_timeout <= ttl leaves
        "ttl": 20,
        "loop_wait": 2,
        "retry_timeout": 6,
        "primary_start_timeout": 30,
        "primary_stop_timeout": 30,
        # with it a leader stays one without votes, as long as it reaches all members
        "failsafe_mode": False,
        "synchronous_mode": waits,
        "synchronous_mode_strict": waits and postgres.without_standby == "stop",
        "synchronous_node_count": 1,
        "maximum_lag_on_failover": postgres.max_failover_lag_mb * 1024 * 1024,
        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": _parameters(postgres)},
    }


def _parameters(postgres: Postgres) -> dict[str, Any]:
    """PostgreSQL 17 manual, chapter 19; pgaudit's and pg_stat_statements' own."""
    return {
        "max_connections": postgres.max_connections,
        # a standby that can take over, be read, and be rewound (pg_rewind, "Warnings": wal_log_hints or checksums)
        "wal_level": "replica",
        "wal_log_hints": "on",
        "hot_standby": "on",
        # for how long a replica stays behind for a read, and whether the leader waits with cleaning up
        "max_standby_streaming_delay": f"{postgres.replica_reads.max_standby_streaming_delay_seconds}s",
        "hot_standby_feedback": "on" if postgres.replica_reads.hot_standby_feedback else "off",
        "max_wal_senders": 10,
        "max_replication_slots": 10,
        # one that stays away does not fill the leader's disk
        "wal_keep_size": "256MB",
        "max_slot_wal_keep_size": "4GB",
        # a broken line is noticed within seconds, and one that came back is streamed over at once
        "wal_sender_timeout": "10s",
        "wal_receiver_timeout": "10s",
        "wal_retrieve_retry_interval": "1s",
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 20000,
        # after a crash it is back soon
        "recovery_init_sync_method": "syncfs",
        # what takes long is in the log
        "log_lock_waits": "on",
        "log_min_duration_statement": "5s",
    }


PINNED = {
    # 19.2.2: what is set comes from Patroni alone, a superuser's ALTER SYSTEM is refused
    "allow_alter_system": "off",
    # no password is kept or asked for in another way
    "password_encryption": "scram-sha-256",
    # who connects and who changes what is in the log
    "shared_preload_libraries": "pg_stat_statements,pgaudit",
    "pgaudit.log": "ddl,role",
    "log_connections": "on",
    "log_disconnections": "on",
    # nothing else is run or loaded
    "archive_mode": "off",
    "ssl_passphrase_command": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "dynamic_library_path": "$libdir",
    "jit_provider": "llvmjit",
    "logging_collector": "off",
}
"""What each server has from its own machine's file, whatever all members share."""
# those of them by which it would run or load something, write elsewhere, or take another kind of password
_LOADS = (
    *("ssl_passphrase_command", "session_preload_libraries", "local_preload_libraries", "shared_preload_libraries"),
    *("dynamic_library_path", "jit_provider", "logging_collector", "password_encryption"),
)


def runs_something_else(found: dict[str, str], data: str, address: str) -> list[str]:
    """Each setting of a running server by which it would run, load or read what nobody declared, or listen elsewhere.

    `found`: as pg_settings shows it; `data`: its folder; `address`: its own in the mesh.
    """
    wanted = {
        "archive_command": ("", "(disabled)"),
        **dict.fromkeys(
            ("archive_library", "archive_cleanup_command", "restore_command", "recovery_end_command"), ("",)
        ),
        **{name: (PINNED[name],) for name in _LOADS},
        "data_directory": (data,),
        "config_file": (f"{data}/postgresql.conf",),
        "hba_file": (f"{data}/pg_hba.conf",),
        "ident_file": (f"{data}/pg_ident.conf",),
        "external_pid_file": ("",),
        "listen_addresses": (address,),
        "unix_socket_directories": ("/var/run/postgresql",),
    }
    return [f"{name} is {found.get(name)!r}" for name, values in wanted.items() if found.get(name) not in values]


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Each place where two settings differ, and how."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            yield from differences(found.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    elif found != wanted:
        yield f"{path} is {found}, not {wanted}"


def position(text: str) -> int:
    """A place in the stream of changes (pg_lsn) as a number; 0 for what is none."""
    high, _, low = text.partition("/")
    try:
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        return 0
