"""What the deploys for the running database cluster share: how it is, in words, and what can be done now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyinfra.api.host import Host

from bastide.cluster import Cluster, cluster_of
from bastide.errors import BastideError
from bastide.layout.etcd import CLIENT_PORT, CTL, FOLDER
from bastide.machines import Machine
from bastide.patroni import Member
from bastide.secrets import Keyring
from bastide.settings import Settings
from deploys.facts.ask import ask
from deploys.facts.etcd import ETCD_DISK, ETCD_MEMBERS, DiskState, MembersState
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.patroni import PATRONI, PatroniState, cluster_by, restart_waits
from deploys.facts.postgres import REPLICATION, ReplicationState
from deploys.postgres import deploy as postgres
from deploys.postgres import patroni

# etcd 3.5 manual, "Hardware recommendations" and FAQ: what the 99th percentile of both should stay below
_LOG_SECONDS, _DATA_SECONDS = 0.010, 0.025
# PostgreSQL 17 manual, 52.19 (pg_replication_slots) and 27.2.4 (pg_stat_replication)
_REPLICATION = """
select json_build_object(
  'slots', coalesce((select json_agg(json_build_object('name', slot_name, 'active', active, 'status', wal_status,
      'kept', pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) order by slot_name)
    from pg_replication_slots), '[]'::json))::text
"""


def fact_request(wanted: Settings, machine: Machine, stack: str) -> FactRequest:
    """What a machine is asked to say how the cluster is. Raises `BastideError` for a stack without one."""
    cluster = member(wanted, machine, stack)
    return merged(
        _voter_request(wanted, machine.name, site=cluster is not None) if machine.name in wanted.etcd_members else {},
        postgres.patroni_request(cluster) if cluster else {},
        REPLICATION.request(_REPLICATION) if cluster else {},
    )


def _voter_request(wanted: Settings, name: str, *, site: bool) -> FactRequest:
    """A machine that only votes has no password to ask the others with."""
    metrics = f"https://{wanted.mesh[name]}:{CLIENT_PORT}/metrics"
    members = ETCD_MEMBERS.request(CTL) if site else {}
    return merged(members, ETCD_DISK.request({"metrics": metrics, "folder": FOLDER}))


def member(wanted: Settings, machine: Machine, stack: str) -> Cluster | None:
    """The cluster as a site sees it; `None` on a machine that only votes. Raises `BastideError` without Postgres."""
    if wanted.postgres is None:
        raise BastideError("this stack has no database cluster", "add settings.postgres to the stack file")
    cluster = cluster_of(wanted, machine, stack)
    return cluster if cluster.me.site else None


def plan(cluster: Cluster, keyring: Keyring) -> dict[str, Any]:
    """What `deploys/remote/postgres.py` must know. Secret."""
    return patroni.rest_plan(cluster, keyring)


def must_answer(host: Host, cluster: Cluster | None) -> PatroniState | None:
    """What a site's Patroni says, `None` on a machine without one. Raises `BastideError` when it says nothing."""
    if cluster is None:
        return None
    seen = ask(host, postgres.patroni_request(cluster))[PATRONI]
    if seen["cluster"] is None:
        raise BastideError(
            f"Patroni on {cluster.me.name} does not answer",
            f"`systemctl status patroni` and `journalctl -u patroni` on {cluster.me.name}; `make deploy` starts it",
        )
    return seen


def answers(host: Host, cluster: Cluster) -> bool:
    """Whether a site's Patroni answers; says so when it does not. Raises `BastideError` for a run on it alone."""
    if ask(host, postgres.patroni_request(cluster))[PATRONI]["cluster"] is not None:
        return True
    if len(host.state.inventory.get_active_hosts()) == 1:
        must_answer(host, cluster)
    host.log(f"Patroni on {cluster.me.name} does not answer; next: `journalctl -u patroni` there")
    return False


def may_hand_over(seen: PatroniState | None, to: str) -> None:
    """Raise `BastideError` when nothing can be handed over to `to` now."""
    if seen is None:
        return
    cluster = cluster_by(seen)
    if not cluster.leader:
        raise BastideError("nobody leads: there is nothing to hand over", "`make cluster` says how the members are")
    if cluster.paused:
        raise BastideError("the cluster is paused: nothing is handed over", "`make resume`, then again")
    if to == cluster.leader:
        raise BastideError(f"{to} leads already", "`make cluster` says how it is")


def lines(name: str, facts: Facts) -> Iterator[str]:
    """How the cluster is, as one machine sees it; what is not well ends with the next step."""
    if PATRONI in facts:
        yield from _site_lines(name, facts[PATRONI], facts[REPLICATION])
    if ETCD_MEMBERS in facts:
        yield _members_line(name, facts[ETCD_MEMBERS])
    elif ETCD_DISK in facts:
        silent = f"votes, but does not answer; next: `journalctl -u etcd` on {name}"
        yield "votes" if facts[ETCD_DISK] is not None else silent
    if ETCD_DISK in facts:
        yield from _disk_lines(name, facts[ETCD_DISK])


def _site_lines(name: str, seen: PatroniState, replication: ReplicationState | None) -> Iterator[str]:
    cluster = cluster_by(seen)
    if seen["cluster"] is None:
        yield f"Patroni does not answer here; next: `journalctl -u patroni` on {name}"
        return
    own = cluster.member(name)
    if own is None:
        yield f"{name} is no member; next: `make deploy`"
    else:
        yield _member_line(own, seen["installed"])
    if restart_waits(seen):
        yield " a restart is pending; next: `make deploy`: it restarts replicas first, then hands over"
    if cluster.paused:
        yield " the cluster is paused: nobody takes over when the leader fails; next: `make resume`"
    if not cluster.leader:
        yield " nobody leads; next: `make drift`, docs/how-to/lose-a-server.md"
    for slot in (replication or {"slots": []})["slots"]:
        state = "in use" if slot["active"] else "nobody reads it"
        lost = "" if slot["status"] != "lost" else f"; next: `make reinit machine={slot['name']}`"
        yield f" slot {slot['name']}: {state}, {_megabytes(slot['kept'])} MB kept{lost}"


def _member_line(own: Member, installed: str) -> str:
    version = installed.partition(") ")[2].split()
    program = f"PostgreSQL {version[0]}" if version else "PostgreSQL"
    where = f"timeline {'?' if own.timeline is None else own.timeline}, {program}"
    if own.leads:
        return f"leads ({own.state}), {where}"
    role = "follows in sync" if own.in_sync else "follows"
    behind = "lag unknown" if own.lag is None else f"{_megabytes(own.lag)} MB behind"
    step = "" if own.streams else f"; next: `journalctl -u patroni`, `make reinit machine={own.name}`"
    return f"{role} ({own.state}), {behind}, {where}{step}"


def _members_line(name: str, seen: MembersState) -> str:
    found, wanted = seen["status"], seen["members"]
    if not found:
        return f"votes, but reaches no quorum; next: `journalctl -u etcd` on {name}"
    leader = next((wanted.get(format(one["Status"]["leader"], "x"), "") for one in found), "")
    away = sorted(set(wanted.values()) - {wanted.get(format(o["Status"]["header"]["member_id"], "x")) for o in found})
    what = f"votes; {len(found)} of {len(wanted)} members answer, {leader or 'nobody'} leads them"
    return f"{what}; next: `make drift`: {', '.join(away)} does not answer" if away else what


def _disk_lines(name: str, seen: DiskState | None) -> Iterator[str]:
    """How quick a voter's disk is; nothing of one that does not answer, which is said already."""
    if seen is None:
        return
    parts = [("log", seen["log"], _LOG_SECONDS), ("data", seen["data"], _DATA_SECONDS)]
    told = ", ".join(f"{what} {took * 1000:.0f} ms" for what, took, _ in parts if took is not None)
    slow = [f"{what} over {most * 1000:.0f} ms" for what, took, most in parts if took is not None and took > most]
    line = f" its disk, 99 of 100 writes since it was started: {told or 'none yet'}"
    if slow:
        line += f": SLOW ({', '.join(slow)}), votes may come too late; next: docs/how-to/postgres.md#a-slow-voter"
    yield line


def _megabytes(size: float | None) -> int:
    return int(size or 0) // 2**20
