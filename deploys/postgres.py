"""PostgreSQL under Patroni on both sites, and the ways to it: HAProxy to whoever leads, PgBouncer for applications.

Patroni decides who leads, by etcd's votes; nothing here does. What may restart a server is done by one machine after
another, replicas first, and a leader hands over before it goes down (`deploys/remote/postgres.py`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from pyinfra.api.deploy import deploy

from bastide import cluster
from bastide.authority import Authority
from bastide.cluster import Cluster, password
from bastide.doors import ETCD_CLIENT, PATRONI, POSTGRES
from bastide.secrets import Keyring
from deploys import etcd
from deploys.database import access, own_access, shape
from deploys.facts.machine import Answer, Question, ask, merged, this_host
from deploys.guards import Guard
from deploys.operations.files import File, files, files_question
from deploys.operations.packages import packages, packages_question
from deploys.operations.phase import phase
from deploys.operations.postgres import databases, own_passwords, roll, shared_settings
from deploys.operations.units import unit
from deploys.operations.wait import wait
from deploys.render import render

VERSION = 17
# haproxy and pgbouncer: on every site. python3-etcd: without it Debian's Patroni knows no etcd. postgresql-17 brings
# its contrib modules along.
PACKAGES = (
    *("haproxy", "nftables", "patroni", "pgbouncer", "python3-etcd"),
    *("postgresql-17", "postgresql-17-pgaudit", "postgresql-client-17"),
)
FOLDER = "/etc/bastide/postgres"
CONFIG = "/etc/patroni/config.yml"
DATA = f"/var/lib/postgresql/{VERSION}/bastide"
UNIT = "patroni.service"
LEADER_PORT, REPLICA_PORT, POOL_PORT = 5000, 5001, 6432
"""Where each site's HAProxy leads to whoever leads and to the replicas, and its PgBouncer listens; loopback only."""
_ACCOUNT = "postgres"
# Patroni takes the signal when its present round is over, and only then knows what must wait for a restart: what
# follows asks it that. One whose server does not run says nothing, and is not waited for longer.
_RELOAD = f"""\
systemctl daemon-reload
systemctl -q is-active {UNIT} || exit 0
before=$(date +%s)
systemctl reload {UNIT} || exit 1
for try in $(seq 40); do
    journalctl -qu {UNIT} --since "@$before" -g 'PostgreSQL configuration' | grep -q . && exit 0
    sleep 0.25
done
"""
# a Patroni that ended by itself is started again and again: `journalctl -u patroni` says why
_IN_VAIN = f"[ $(systemctl show -P SubState {UNIT}) = auto-restart ]"
_RELOAD_HAPROXY = """\
haproxy -q -c -f /etc/haproxy/haproxy.cfg && systemctl -q enable haproxy || exit 1
systemctl -q is-active haproxy && systemctl reload haproxy || systemctl restart haproxy
"""
# where it listens is read at its start alone, and Debian's package has it listen at ::1 as well
_RELOAD_PGBOUNCER = """\
systemctl daemon-reload; systemctl -q enable pgbouncer || exit 1
ss -Hltnp | grep '"pgbouncer"' | grep -qvF ' 127.0.0.1:' && systemctl stop pgbouncer
systemctl -q is-active pgbouncer && systemctl reload pgbouncer || systemctl restart pgbouncer
"""


@deploy("postgres")
def postgres(wanted: Cluster, keyring: Keyring) -> None:
    """On a site: all of it. On a machine that only votes: nothing but to wait for the others."""
    guard = guard_of(wanted)
    seen = ask(this_host(), **question(wanted, keyring)) if wanted.me.site else {}
    if wanted.me.site:
        # before the packages, which would make and start a cluster of their own, and HAProxy without a listener
        files(name="no cluster of Debian's", name_="postgres-packages", wanted=package_files())
        packages(name="packages", names=PACKAGES)
        files(
            name="closed to other accounts",
            name_="postgres-guard",
            wanted=guard.files(),
            settle=guard.settle(),
            drift=guard.drift(seen),
        )
        files(name="authorities", name_="postgres-ca", wanted=authority_files(keyring), settle=_RELOAD)
        own_passwords(name="passwords among members", keys=own_access(keyring))
    phase(name="every machine trusts the authorities")
    if wanted.me.site:
        files(
            name="certificates",
            name_="postgres-certificates",
            wanted=certificate_files(wanted, keyring),
            settle=_RELOAD,
        )
        files(
            name="cluster member",
            name_="patroni",
            wanted=member_files(wanted, keyring, memory_of(wanted, seen)),
            settle=_RELOAD,
        )
    # the first to start makes the cluster when there is none: it shall be the primary
    if wanted.me.site and wanted.first:
        unit(name="first server", name_=UNIT, state="running")
        wait(
            name="the cluster has a leader",
            until=_has_leader(wanted),
            seconds=90,
            unless=_IN_VAIN,
            for_what="a leader of the cluster",
        )
    phase(name="somebody leads")
    if wanted.me.site and not wanted.first:
        unit(name="further server", name_=UNIT, state="running")
    if wanted.me.site:
        wait(
            name="this server follows or leads", until=_is_well(wanted), seconds=120, for_what="this server to be well"
        )
    phase(name="every server is well")
    if wanted.me.site and wanted.first:
        shared_settings(name="what all members share", wanted=shared(wanted), plan=rest_plan(wanted, keyring))
    phase(name="all members share what is wanted")
    if wanted.me.site:
        wait(
            name="this server knows what is shared",
            until=_knows(wanted),
            for_what="Patroni to take over what all members share",
            seen=bool(seen["patroni"]["knows"]),
        )
    phase(name="every server knows")
    if wanted.me.site:
        roll(name="changes that need a restart", plan=rest_plan(wanted, keyring), leads=False, _serial=True)
    phase(name="replicas are as wanted")
    if wanted.me.site:
        roll(
            name="the same for the leader, after a switchover",
            plan=rest_plan(wanted, keyring),
            leads=True,
            _serial=True,
        )
    phase(name="the leader is as wanted")
    if wanted.me.site:
        roll(name="what the leader had to do first", plan=rest_plan(wanted, keyring), leads=False, _serial=True)
    phase(name="all servers are as wanted")
    if wanted.me.site:
        # of a cluster that this run has made
        own_passwords(name="passwords among members, for good", keys=own_access(keyring))
        databases(
            name="databases, roles and rights", shape=shape(wanted.postgres), keys=access(wanted.postgres, keyring)
        )
        files(name="way to the leader", name_="haproxy", wanted=(haproxy_file(wanted),), settle=_RELOAD_HAPROXY)
        files(name="pool", name_="pgbouncer", wanted=pool_files(wanted, keyring), settle=_RELOAD_PGBOUNCER)
        unit(name="way to the leader runs", name_="haproxy.service", state="running")
        unit(name="pool runs", name_="pgbouncer.service", state="running")


def question(wanted: Cluster, keyring: Keyring) -> Question:
    """All that this capability will ask a machine."""
    if not wanted.me.site:
        return {}
    written = (
        *package_files(),
        *authority_files(keyring),
        *certificate_files(wanted, keyring),
        *member_files(wanted, keyring, {}),
        haproxy_file(wanted),
        *pool_files(wanted, keyring),
    )
    return merged(
        packages_question(PACKAGES),
        files_question(written),
        guard_of(wanted).question(),
        {
            "units": [UNIT, "haproxy.service", "pgbouncer.service"],
            **look(wanted),
            "databases": shape(wanted.postgres).question(),
        },
    )


def look(wanted: Cluster) -> Question:
    """What a site is asked of itself and of the cluster."""
    return {"patroni": {"url": rest_url(wanted), "ca": f"{FOLDER}/ca.crt", "data": DATA}}


def guard_of(wanted: Cluster) -> Guard:
    """Patroni's API and the servers' own ports: an application comes in by the pool, which knows it by its password."""
    return Guard(
        "postgres",
        "Patroni's API",
        (PATRONI,),
        tuple(member.address for member in wanted.members),
        ("root", "postgres", "haproxy"),
    )


def package_files() -> tuple[File, ...]:
    """createcluster.conf(5) of postgresql-common."""
    return (File("/etc/postgresql-common/createcluster.d/bastide.conf", "create_main_cluster = false\n"),)


def authority_files(keyring: Keyring) -> tuple[File, ...]:
    """Whom servers and clients trust: for Postgres and Patroni, and for etcd."""
    return (
        File(f"{FOLDER}/ca.crt", Authority(keyring, "postgres").trusted()),
        File(f"{FOLDER}/etcd-ca.crt", Authority(keyring, "etcd").trusted()),
    )


def certificate_files(wanted: Cluster, keyring: Keyring) -> tuple[File, ...]:
    """The machine's own for Postgres, Patroni and PgBouncer (which reaches any server at its own loopback), and one
    for etcd's clients."""
    at = datetime.now(UTC)
    own = Authority(keyring, "postgres").issue(
        wanted.me.name, at, dns=(wanted.me.name, "localhost"), addresses=(wanted.me.address, "127.0.0.1")
    )
    client = Authority(keyring, "etcd").issue(
        f"{wanted.me.name}-patroni", at, dns=(wanted.me.name,), server=False, common_name=False
    )
    return (
        File(f"{FOLDER}/server.crt", own.certificate),
        File(f"{FOLDER}/server.key", own.key, mode=0o400, owner=_ACCOUNT, group=_ACCOUNT),
        File(f"{FOLDER}/etcd-client.crt", client.certificate),
        File(f"{FOLDER}/etcd-client.key", client.key, mode=0o400, owner=_ACCOUNT, group=_ACCOUNT),
    )


def member_files(wanted: Cluster, keyring: Keyring, memory: dict[str, str]) -> tuple[File, ...]:
    """Patroni's configuration, and a drop-in to Debian's unit."""
    text = render(
        "postgres/config.yml.j2",
        stack=wanted.stack,
        me=wanted.me,
        voters=wanted.voters,
        folder=FOLDER,
        data=DATA,
        version=VERSION,
        postgres_port=POSTGRES,
        patroni_port=PATRONI,
        etcd_port=ETCD_CLIENT,
        etcd_user=etcd.patroni_user(keyring.newest),
        etcd_password=etcd.patroni_password(keyring, keyring.newest),
        rest_password=password(keyring, "patroni").get_secret_value(),
        replicator_password=password(keyring, "replicator").get_secret_value(),
        rewinder_password=password(keyring, "rewinder").get_secret_value(),
        shared=json.dumps(shared(wanted)),
        memory=memory,
        hba=hba(wanted),
    )
    return (
        File(CONFIG, SecretStr(text), mode=0o600, owner=_ACCOUNT, group=_ACCOUNT),
        File(f"/etc/systemd/system/{UNIT}.d/bastide.conf", render("postgres/bastide.conf.j2")),
    )


def memory_of(wanted: Cluster, seen: Answer) -> dict[str, str]:
    """Postgres' share of the machine's memory: of the server type's, or of what a machine of somebody else has."""
    total = wanted.memory_mb or seen["patroni"]["memory_mb"]
    # PostgreSQL 17 manual, 19.4.1: a quarter; the rest caches files. A gigabyte is enough for building an index.
    return {
        "shared_buffers": f"{total // 4}MB",
        "effective_cache_size": f"{total * 5 // 8}MB",
        "maintenance_work_mem": f"{min(total // 16, 1024)}MB",
        "work_mem": f"{max(total // 4 // wanted.postgres.max_connections, 4)}MB",
    }


def shared(wanted: Cluster) -> dict[str, Any]:
    """What all members share, in etcd (Patroni 4.0 manual, "Dynamic Configuration Settings")."""
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
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                # after a crash: one call to the file system, where the default opens every file of the data
                "recovery_init_sync_method": "syncfs",
                "wal_level": "replica",
                "wal_log_hints": "on",
                "hot_standby": "on",
                "max_connections": postgres.max_connections,
                "max_wal_senders": 10,
                "max_replication_slots": 10,
                # a replica that stays away must not fill the leader's disk
                "max_slot_wal_keep_size": "4GB",
                "wal_keep_size": "256MB",
                "password_encryption": "scram-sha-256",
                "shared_preload_libraries": "pg_stat_statements,pgaudit",
                "pgaudit.log": "ddl,role",
                "log_connections": "on",
                "log_disconnections": "on",
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


def haproxy_file(wanted: Cluster) -> File:
    """HAProxy 3.0's configuration."""
    text = render(
        "postgres/haproxy.cfg.j2",
        listeners=[
            {"name": "leader", "port": LEADER_PORT, "check": "/primary", "seen_within": "300ms"},
            {
                "name": "replicas",
                "port": REPLICA_PORT,
                "check": f"/replica?lag={wanted.postgres.max_failover_lag_mb}MB",
                "seen_within": "2s",
            },
        ],
        sites=wanted.sites,
        folder=FOLDER,
        patroni_port=PATRONI,
        postgres_port=POSTGRES,
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
        File("/etc/pgbouncer/pgbouncer.ini", text, owner=_ACCOUNT, group=_ACCOUNT),
        File("/etc/pgbouncer/userlist.txt", SecretStr("".join(lines)), mode=0o600, owner=_ACCOUNT, group=_ACCOUNT),
    )


def rest_url(wanted: Cluster) -> str:
    """This machine's Patroni."""
    return f"https://{wanted.me.address}:{PATRONI}"


def rest_plan(wanted: Cluster, keyring: Keyring) -> dict[str, Any]:
    """What `deploys/remote/postgres.py` must know to change something. Secret."""
    return {
        "url": rest_url(wanted),
        "name": wanted.me.name,
        "folder": FOLDER,
        "password": password(keyring, "patroni").get_secret_value(),
    }


def _seen_well(seen: Answer) -> bool:
    """Whether this server was seen to lead, or to follow somebody who leads."""
    cluster = (seen.get("patroni") or {}).get("cluster") or {"members": []}
    states = {(member["role"], member["state"]) for member in cluster["members"]}
    own = (seen.get("patroni") or {}).get("patroni") or {}
    return ("leader", "running") in states and own.get("state") == "running"


def _curl(wanted: Cluster, path: str) -> str:
    return f"curl -sf -m 3 --cacert {FOLDER}/ca.crt {rest_url(wanted)}{path}"


def _knows(wanted: Cluster) -> str:
    """Whether this Patroni has taken over what is shared: it writes it down when it has (and knows what must wait)."""
    script = f"import json, sys; sys.exit(json.load(sys.stdin) != json.load(open('{DATA}/patroni.dynamic.json')))"
    return f'{_curl(wanted, "/config")} | python3 -c "{script}"'


def _has_leader(wanted: Cluster) -> str:
    return f"""{_curl(wanted, "/cluster")} | grep -q '"role": "leader"'"""


def _is_well(wanted: Cluster) -> str:
    return f"{_curl(wanted, '/health')} >/dev/null"
