"""What Patroni and its Postgres are told on one machine: certificates, its own settings, and those that all share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from bastide.authority import Authority
from bastide.cluster import Cluster, password
from bastide.layout import etcd
from bastide.layout.postgres import ACCOUNT, CONFIG, DATA, FOLDER, PATRONI_PORT, PORT, PROGRAM, UNIT, VERSION
from bastide.layout.sandbox import PATRONI
from bastide.secrets import Keyring
from deploys.etcd import membership
from deploys.operations.files import File
from deploys.render import render
from deploys.sandboxed import drop_in

# Patroni takes the signal when its present round is over, and only then knows what must wait for a restart: what
# follows asks it that. One whose server does not run says nothing, and is not waited for longer.
RELOAD = f"""\
systemctl daemon-reload
systemctl -q is-active {UNIT} || exit 0
before=$(date +%s)
systemctl reload {UNIT} || exit 1
for try in $(seq 40); do
    journalctl -qu {UNIT} --since "@$before" -g 'PostgreSQL configuration' | grep -q . && exit 0
    sleep 0.25
done
"""
# What runs code, writes elsewhere or lets somebody in, or says who did what: each machine's own file has it, which wins
# over what all members share in etcd (Patroni 4.0 manual, "Patroni configuration").
PINNED = {
    # without it neither archive_command nor archive_library is ever run
    "archive_mode": "off",
    "ssl_passphrase_command": "",
    "shared_preload_libraries": "pg_stat_statements,pgaudit",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "dynamic_library_path": "$libdir",
    "jit_provider": "llvmjit",
    "logging_collector": "off",
    # what a superuser sets by hand outlives every file, and no member knows of another's
    "allow_alter_system": "off",
    "password_encryption": "scram-sha-256",
    "pgaudit.log": "ddl,role",
    "log_connections": "on",
    "log_disconnections": "on",
}
# Who trusts whom, and who shows what: HAProxy, PgBouncer and Postgres read it when they are told to, and Patroni tells
# its Postgres only when a setting has changed. A HAProxy that does not know a new authority sees no leader any more.
RELOAD_TRUST = f"""\
for unit in haproxy pgbouncer; do systemctl -q is-active $unit && systemctl reload $unit; done
server=$(head -n 1 {DATA}/postmaster.pid 2>/dev/null)
# as the account that wrote it: it could have root send a signal to any process
[ -z "$server" ] || runuser -u {ACCOUNT} -- kill -HUP "$server"
{RELOAD}"""


def authority_files(keyring: Keyring) -> tuple[File, ...]:
    """Whom servers and clients trust: for Postgres and Patroni, and for etcd."""
    return (
        File(f"{FOLDER}/ca.crt", Authority(keyring, "postgres").trusted()),
        File(f"{FOLDER}/etcd-ca.crt", Authority(keyring, "etcd").trusted()),
    )


def certificate_files(wanted: Cluster, keyring: Keyring) -> tuple[File, ...]:
    """The machine's own for Postgres and Patroni, in its own name and at its own address only; and one for etcd's
    clients."""
    at = datetime.now(UTC)
    own = Authority(keyring, "postgres").issue(
        wanted.me.name, at, dns=(wanted.me.name,), addresses=(wanted.me.address,)
    )
    client = Authority(keyring, "etcd").issue(
        f"{wanted.me.name}-patroni", at, dns=(wanted.me.name,), server=False, common_name=False
    )
    return (
        File(f"{FOLDER}/server.crt", own.certificate),
        File(f"{FOLDER}/server.key", own.key, mode=0o400, owner=ACCOUNT, group=ACCOUNT),
        File(f"{FOLDER}/etcd-client.crt", client.certificate),
        File(f"{FOLDER}/etcd-client.key", client.key, mode=0o400, owner=ACCOUNT, group=ACCOUNT),
    )


def member_files(wanted: Cluster, keyring: Keyring, memory: dict[str, str]) -> tuple[File, ...]:
    """Patroni's configuration, and how it is started."""
    names = _names(shared(wanted))
    text = render(
        "postgres/config.yml.j2",
        stack=wanted.stack,
        me=wanted.me,
        voters=wanted.voters,
        folder=FOLDER,
        data=DATA,
        version=VERSION,
        postgres_port=PORT,
        patroni_port=PATRONI_PORT,
        etcd_port=etcd.CLIENT_PORT,
        etcd_user=membership.patroni_user(keyring.newest),
        etcd_password=membership.patroni_password(keyring, keyring.newest),
        rest_password=password(keyring, "patroni").get_secret_value(),
        replicator_password=password(keyring, "replicator").get_secret_value(),
        rewinder_password=password(keyring, "rewinder").get_secret_value(),
        shared=json.dumps(shared(wanted)),
        memory=memory,
        pinned=PINNED,
        hba=hba(wanted),
    )
    return (
        File(CONFIG, SecretStr(text), mode=0o600, owner=ACCOUNT, group=ACCOUNT),
        File(PROGRAM, render("postgres/patroni.j2", names=names), mode=0o755),
    )


def unit_file() -> File:
    """A drop-in to Debian's unit: it counts for a Patroni that is started, and for the server that this one starts."""
    return drop_in(PATRONI, render("postgres/bastide.conf.j2", program=PROGRAM, config=CONFIG, sandbox=PATRONI))


def memory_of(wanted: Cluster, there_mb: int) -> dict[str, str]:
    """Postgres' share of the machine's memory: of the server type's, or of what a machine of somebody else has."""
    total = wanted.memory_mb or there_mb
    # The stack file may name a type that the machine is not yet (`make resize` changes it): more than it has would keep
    # Postgres from starting. What a kernel keeps for itself is no such difference.
    if there_mb and there_mb < total * 3 // 4:
        total = there_mb
    # PostgreSQL 17 manual, 19.4.1: a quarter; the rest caches files. A gigabyte is enough for building an index.
    return {
        "shared_buffers": f"{total // 4}MB",
        "effective_cache_size": f"{total * 5 // 8}MB",
        "maintenance_work_mem": f"{min(total // 16, 1024)}MB",
        "work_mem": f"{max(total // 4 // wanted.postgres.max_connections, 4)}MB",
    }


def shared(wanted: Cluster) -> dict[str, Any]:
    """What all members share, in etcd (Patroni 4.0 manual, "Dynamic Configuration Settings"): numbers and plain words.
    What is not named here does not count for any of them (templates/postgres/patroni.j2)."""
    postgres = wanted.postgres
    zero_loss = postgres.durability == "zero-loss"
    return {
        # A leader that cannot reach etcd gives up within ttl; nobody else leads before. 20 is the least that Patroni
        # takes, and loop_wait + 2 * retry_timeout must not exceed it.
        "ttl": 20,
        "loop_wait": 2,
        "retry_timeout": 6,
        # without a quorum nobody writes: see docs/decisions/0019-who-leads.md
        "failsafe_mode": False,
        "synchronous_mode": zero_loss,
        "synchronous_mode_strict": zero_loss and postgres.without_standby == "stop",
        "synchronous_node_count": 1,
        "maximum_lag_on_failover": postgres.max_failover_lag_mb * 2**20,
        # a server that does not come up again within this time is given up while another one can lead
        "primary_start_timeout": 30,
        # One that does not come down is killed: the other site has every row. PostgreSQL 17 waits for ever when it is
        # told to stop while it recovers from a crash, and the leader keeps its lease all the while. Seen with a full
        # disk: the checkpoint before a switchover panics (replorigin_checkpoint.tmp), and the stop meets the recovery.
        "primary_stop_timeout": 30,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                # after a crash: one call to the file system, where the default opens every file of the data
                "recovery_init_sync_method": "syncfs",
                "wal_level": "replica",
                "wal_log_hints": "on",
                "hot_standby": "on",
                # what a read on a replica may cost, when the leader has cleaned up what it needs
                "max_standby_streaming_delay": f"{postgres.replica_reads.max_standby_streaming_delay_seconds}s",
                "hot_standby_feedback": "on" if postgres.replica_reads.hot_standby_feedback else "off",
                "max_connections": postgres.max_connections,
                "max_wal_senders": 10,
                "max_replication_slots": 10,
                # a replica that stays away must not fill the leader's disk
                "max_slot_wal_keep_size": "4GB",
                "wal_keep_size": "256MB",
                "log_lock_waits": "on",
                "log_min_duration_statement": "5s",
                # the other end of a broken cable is noticed in seconds
                "tcp_keepalives_idle": 10,
                "tcp_keepalives_interval": 5,
                "tcp_keepalives_count": 3,
                "tcp_user_timeout": 20000,
                "wal_sender_timeout": "10s",
                "wal_receiver_timeout": "10s",
                # a replica asks a leader that came back once a second: until it streams, nothing waits for it
                "wal_retrieve_retry_interval": "1s",
            },
        },
    }


def _names(wanted: dict[str, Any]) -> dict[str, Any]:
    """The names alone, with None for their values; and the pause, which no stack file says."""
    names = {name: _names(value) if isinstance(value, dict) else None for name, value in sorted(wanted.items())}
    return names | ({"pause": None} if "ttl" in names else {})


def hba(wanted: Cluster) -> list[str]:
    """pg_hba.conf: over TLS, by password, from the mesh; each role to its databases; the superuser by its account."""
    lines = ["local all postgres peer", "local all all reject"]
    for site in wanted.sites:
        lines.append(f"hostssl replication replicator {site.address}/32 scram-sha-256")
        lines.append(f"hostssl postgres rewinder {site.address}/32 scram-sha-256")
        lines += [
            f'hostssl "{name}" "{role}" {site.address}/32 scram-sha-256'
            for name, database in wanted.postgres.databases.items()
            for role in database.roles
        ]
    return [*lines, "host all all all reject"]


def rest_url(wanted: Cluster) -> str:
    """This machine's Patroni."""
    return f"https://{wanted.me.address}:{PATRONI_PORT}"


def rest_plan(wanted: Cluster, keyring: Keyring) -> dict[str, Any]:
    """What `deploys/remote/postgres.py` must know to change something. Secret."""
    return {
        "url": rest_url(wanted),
        "name": wanted.me.name,
        "folder": FOLDER,
        "password": password(keyring, "patroni").get_secret_value(),
    }
