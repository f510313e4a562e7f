"""PostgreSQL under Patroni on both sites, and the ways to it: HAProxy to whoever leads, PgBouncer for applications.

Patroni decides who leads, by etcd's votes; nothing here does. What may restart a server is done by one machine after
another, replicas first, and a leader hands over before it goes down (`deploys/remote/postgres.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.cluster import Cluster, cluster_of
from bastide.layout.postgres import DATA, FOLDER, PATRONI_PORT, POOL_LISTENER, POOL_UNIT, ROUTER_UNIT, UNIT
from bastide.secrets import Keyring
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.patroni import PATRONI
from deploys.facts.postgres import DATABASES, IN_FORCE
from deploys.facts.programs import OUTDATED, SANDBOX
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.local_access import LocalAccess, close_to_others
from deploys.operations.files import File, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.phase import phase
from deploys.operations.postgres import (
    clients_wait,
    databases,
    in_force,
    own_passwords,
    restart_router,
    roll,
    shared_settings,
)
from deploys.operations.units import unit
from deploys.operations.wait import wait
from deploys.postgres.patroni import (
    RELOAD,
    RELOAD_TRUST,
    authority_files,
    certificate_files,
    hba,
    member_files,
    memory_of,
    rest_plan,
    rest_url,
    shared,
    unit_file,
)
from deploys.postgres.rights import access, own_access, shape
from deploys.postgres.routing import (
    MAKE_POOL_ACCOUNT,
    RELOAD_HAPROXY,
    RELOAD_PGBOUNCER,
    haproxy_file,
    pause_plan,
    pool_account_file,
    pool_files,
    pool_users_file,
    router_unit_file,
)
from deploys.postgres.turn import turn_files
from deploys.restarts import no_restarts, restart_files

# haproxy and pgbouncer: on every site. python3-etcd: without it Debian's Patroni knows no etcd. postgresql-17 brings
# its contrib modules along.
PACKAGES = (
    *("haproxy", "nftables", "patroni", "pgbouncer", "python3-etcd"),
    *("postgresql-17", "postgresql-17-pgaudit", "postgresql-client-17"),
)
_READ = "systemctl daemon-reload"
# a Patroni that ended by itself is started again and again: `journalctl -u patroni` says why
_IN_VAIN = f"[ $(systemctl show -P SubState {UNIT}) = auto-restart ]"


@dataclass(frozen=True)
class Wanted:
    """The cluster as this machine sees it, and the masters of its passwords and certificates."""

    cluster: Cluster
    keyring: Keyring


@deploy("postgres")
def postgres(wanted: Wanted) -> None:
    """On a site: all of it. On a machine that only votes: nothing but to wait for the others."""
    facts = ask(this_host(), fact_request(wanted))
    cluster, keyring, site = wanted.cluster, wanted.keyring, wanted.cluster.me.site
    if site:
        # before the packages, which would make and start a cluster of their own, and HAProxy without a listener
        files(name="no cluster of Debian's", name_="postgres-packages", wanted=package_files())
        no_restarts()
        packages(name="packages", names=PACKAGES)
        close_to_others(local_access_of(cluster), facts)
        files(name="authorities", name_="postgres-ca", wanted=authority_files(keyring), settle=RELOAD_TRUST)
        own_passwords(name="passwords among members", keys=own_access(keyring))
        # before the servers' certificates change: it must not ask of them what they no longer say
        files(name="account of the pool", name_="pool-account", wanted=(pool_account_file(),), settle=MAKE_POOL_ACCOUNT)
        # one site after the other: an older one is restarted once, and its clients connect again
        files(
            name="pool",
            name_="pgbouncer",
            wanted=pool_files(cluster, keyring),
            settle=RELOAD_PGBOUNCER,
            drift=facts[OUTDATED][POOL_UNIT],
            unit=POOL_UNIT,
            _serial=True,
        )
    phase(name="every machine trusts the authorities")
    if site:
        files(
            name="certificates",
            name_="postgres-certificates",
            wanted=certificate_files(cluster, keyring),
            settle=RELOAD_TRUST,
        )
        own = member_files(cluster, keyring, memory_of(cluster, facts[PATRONI]["memory_mb"]))
        # how one that runs is started changes with its restart, server after server
        files(
            name="cluster member",
            name_="patroni",
            wanted=own if _runs(facts, UNIT) else (*own, unit_file()),
            settle=RELOAD,
        )
    # the first to start makes the cluster when there is none: it shall be the primary
    if site and cluster.first:
        unit(name="first server", name_=UNIT, state="running")
        wait(
            name="the cluster has a leader",
            until=_has_leader(cluster),
            seconds=90,
            unless=_IN_VAIN,
            for_what="a leader of the cluster",
        )
    phase(name="somebody leads")
    if site and not cluster.first:
        unit(name="further server", name_=UNIT, state="running")
    if site:
        wait(
            name="this server follows or leads", until=_is_well(cluster), seconds=120, for_what="this server to be well"
        )
    phase(name="every server is well")
    if site and cluster.first:
        shared_settings(name="what all members share", wanted=shared(cluster), plan=rest_plan(cluster, keyring))
    phase(name="all members share what is wanted")
    if site:
        wait(
            name="this server knows what is shared",
            until=_knows(cluster),
            for_what="Patroni to take over what all members share",
            seen=facts[PATRONI]["knows"],
        )
        # before the restarts: one may wait for that as well
        in_force(name="nothing set by hand", data=DATA, rules=hba(cluster))
    phase(name="every server knows")
    if site:
        roll(
            name="changes that need a restart",
            plan=rest_plan(cluster, keyring),
            leads=False,
            wanted=(unit_file(),),
            _serial=True,
        )
    phase(name="replicas are as wanted")
    if site:
        clients_wait(name="clients wait meanwhile", plan=pause_plan(cluster), before_restart=True, unit=(unit_file(),))
        roll(
            name="the same for the leader, after a switchover",
            plan=rest_plan(cluster, keyring),
            leads=True,
            wanted=(unit_file(),),
            _serial=True,
        )
    phase(name="the leader is as wanted")
    if site:
        roll(
            name="what the leader had to do first",
            plan=rest_plan(cluster, keyring),
            leads=False,
            wanted=(unit_file(),),
            _serial=True,
        )
    phase(name="all servers are as wanted")
    if site:
        # of a cluster that this run has made
        own_passwords(name="passwords among members, for good", keys=own_access(keyring))
        databases(
            name="databases, roles and rights",
            shape=shape(cluster.postgres, len(cluster.sites)),
            keys=access(cluster.postgres, keyring),
        )
        if _runs(facts, ROUTER_UNIT):
            restart_router(
                name="way to the leader as it may",
                wanted=(router_unit_file(), haproxy_file(cluster)),
                plan=pause_plan(cluster),
                _serial=True,
            )
        else:
            files(
                name="how the way to the leader runs", name_="haproxy-unit", wanted=(router_unit_file(),), settle=_READ
            )
        # it takes its own newer program up when it is reloaded, and its sessions end with the earlier one
        why = facts[OUTDATED][ROUTER_UNIT]
        files(
            name="way to the leader",
            name_="haproxy",
            wanted=(haproxy_file(cluster),),
            settle=RELOAD_HAPROXY,
            drift="" if why == SANDBOX else why,
        )
        # together with the roles' own: for as long as the two differ, nobody new gets in
        files(
            name="who comes in by the pool",
            name_="pgbouncer-users",
            wanted=(pool_users_file(cluster, keyring),),
            settle=RELOAD_PGBOUNCER,
        )
        unit(name="way to the leader runs", name_=ROUTER_UNIT, state="running")
        unit(name="somebody listens for the pool", name_=POOL_LISTENER, state="running")
        unit(name="pool runs", name_=POOL_UNIT, state="running")
        files(name="its turn at night", name_="postgres-turn", wanted=turn_files(cluster, keyring))


def wanted_of(here: Here) -> Wanted | None:
    """Nothing in a stack without Postgres."""
    if here.settings.postgres is None:
        return None
    # the first to start makes the cluster when there is none, or the one whose data are said to be the cluster's
    first = (here.adopt or "primary") in (here.machine.name, here.machine.role)
    return Wanted(cluster_of(here.settings, here.machine, here.stack, first=first), here.keyring)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    cluster, keyring = wanted.cluster, wanted.keyring
    if not cluster.me.site:
        return {}
    written = (
        *package_files(),
        *restart_files(),
        *authority_files(keyring),
        *certificate_files(cluster, keyring),
        *member_files(cluster, keyring, {}),
        unit_file(),
        haproxy_file(cluster),
        router_unit_file(),
        *turn_files(cluster, keyring),
        pool_account_file(),
        *pool_files(cluster, keyring),
        pool_users_file(cluster, keyring),
    )
    return merged(
        packages_request(PACKAGES),
        files_request(written),
        local_access_of(cluster).fact_request(),
        UNITS.request([UNIT, ROUTER_UNIT, POOL_LISTENER, POOL_UNIT]),
        OUTDATED.request([ROUTER_UNIT, POOL_UNIT]),
        patroni_request(cluster),
        IN_FORCE.request(DATA),
        DATABASES.request(shape(cluster.postgres, len(cluster.sites)).asked),
    )


def patroni_request(wanted: Cluster) -> FactRequest:
    """What a site is asked of itself and of the cluster."""
    return PATRONI.request({"url": rest_url(wanted), "ca": f"{FOLDER}/ca.crt", "data": DATA})


def local_access_of(wanted: Cluster) -> LocalAccess:
    """Patroni's API and the servers' own ports: an application comes in by the pool, which knows it by its password."""
    return LocalAccess(
        "postgres",
        "Patroni's API",
        (PATRONI_PORT,),
        tuple(member.address for member in wanted.members),
        ("root", "postgres", "haproxy"),
    )


def package_files() -> tuple[File, ...]:
    """createcluster.conf(5) of postgresql-common."""
    return (File("/etc/postgresql-common/createcluster.d/bastide.conf", "create_main_cluster = false\n"),)


def _runs(facts: Facts, unit: str) -> bool:
    return facts[UNITS][unit]["ActiveState"] == "active"


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
