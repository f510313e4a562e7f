"""What the deploys for the running database cluster share: how it is, in words, and what can be done now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyinfra.api.host import Host

from bastide.cluster import Cluster, cluster_of
from bastide.errors import BastideError
from bastide.layout.etcd import CTL
from bastide.machines import Machine
from bastide.secrets import Keyring
from bastide.settings import Settings
from deploys.facts.machine import Answer, Question, ask
from deploys.operations.postgres import is_paused, leader_of, restart_waits
from deploys.postgres import deploy as postgres
from deploys.postgres import patroni

# PostgreSQL 17 manual, 52.19 (pg_replication_slots) and 27.2.4 (pg_stat_replication)
_REPLICATION = """
select json_build_object(
  'slots', coalesce((select json_agg(json_build_object('name', slot_name, 'active', active, 'status', wal_status,
      'kept', pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) order by slot_name)
    from pg_replication_slots), '[]'::json))::text
"""


def question(wanted: Settings, machine: Machine, stack: str) -> Question:
    """What a machine is asked to say how the cluster is. Raises `BastideError` for a stack without one."""
    cluster = member(wanted, machine, stack)
    asked: Question = {"voters": CTL} if machine.name in wanted.etcd_members else {}
    return asked | {**postgres.look(cluster), "replication": _REPLICATION} if cluster else asked


def member(wanted: Settings, machine: Machine, stack: str) -> Cluster | None:
    """The cluster as a site sees it; `None` on a machine that only votes. Raises `BastideError` without Postgres."""
    if wanted.postgres is None:
        raise BastideError("this stack has no database cluster", "add settings.postgres to the stack file")
    cluster = cluster_of(wanted, machine, stack)
    return cluster if cluster.me.site else None


def plan(cluster: Cluster, keyring: Keyring) -> dict[str, Any]:
    """What `deploys/remote/postgres.py` must know. Secret."""
    return patroni.rest_plan(cluster, keyring)


def look(host: Host, cluster: Cluster | None) -> Answer | None:
    """What a site's Patroni says, `None` on a machine without one. Raises `BastideError` when it says nothing."""
    if cluster is None:
        return None
    seen: Answer = ask(host, **postgres.look(cluster))["patroni"]
    if seen["cluster"] is None:
        raise BastideError(
            f"Patroni on {cluster.me.name} does not answer",
            f"`systemctl status patroni` and `journalctl -u patroni` on {cluster.me.name}; `make deploy` starts it",
        )
    return seen


def answers(host: Host, cluster: Cluster) -> bool:
    """Whether a site's Patroni answers; says so when it does not. Raises `BastideError` for a run on it alone."""
    seen: Answer = ask(host, **postgres.look(cluster))["patroni"]
    if seen["cluster"] is not None:
        return True
    if len(host.state.inventory.get_active_hosts()) == 1:
        look(host, cluster)
    host.log(f"Patroni on {cluster.me.name} does not answer; next: `journalctl -u patroni` there")
    return False


def may_hand_over(seen: Answer | None, to: str) -> None:
    """Raise `BastideError` when nothing can be handed over to `to` now."""
    if seen is None:
        return
    leader = leader_of(seen)
    if not leader:
        raise BastideError("nobody leads: there is nothing to hand over", "`make cluster` says how the members are")
    if is_paused(seen):
        raise BastideError("the cluster is paused: nothing is handed over", "`make resume`, then again")
    if to == leader:
        raise BastideError(f"{to} leads already", "`make cluster` says how it is")


def lines(name: str, seen: Answer) -> Iterator[str]:
    """How the cluster is, as one machine sees it; what is not well ends with the next step."""
    if "patroni" in seen:
        yield from _site_lines(name, seen["patroni"], seen["replication"])
    if "voters" in seen:
        yield _members_line(name, seen["voters"])


def _site_lines(name: str, seen: Answer, replication: Answer | None) -> Iterator[str]:
    cluster = seen["cluster"]
    if cluster is None:
        yield f"Patroni does not answer here; next: `journalctl -u patroni` on {name}"
        return
    own = next((member for member in cluster["members"] if member["name"] == name), None)
    if own is None:
        yield f"{name} is no member; next: `make deploy`"
    else:
        yield _member_line(own, seen)
    if restart_waits(seen):
        yield " a restart is pending; next: `make deploy`: it restarts replicas first, then hands over"
    if is_paused(seen):
        yield " the cluster is paused: nobody takes over when the leader fails; next: `make resume`"
    if not leader_of(seen):
        yield " nobody leads; next: `make drift`, docs/how-to/lose-a-server.md"
    for slot in (replication or {"slots": []})["slots"]:
        state = "in use" if slot["active"] else "nobody reads it"
        lost = "" if slot["status"] != "lost" else f"; next: `make reinit machine={slot['name']}`"
        yield f" slot {slot['name']}: {state}, {_megabytes(slot['kept'])} MB kept{lost}"


def _member_line(own: Answer, seen: Answer) -> str:
    version = seen["installed"].partition(") ")[2].split()
    program = f"PostgreSQL {version[0]}" if version else "PostgreSQL"
    where = f"timeline {own.get('timeline', '?')}, {program}"
    if own["role"] in ("leader", "primary"):
        return f"leads ({own['state']}), {where}"
    role = "follows in sync" if own["role"] == "sync_standby" else "follows"
    lag = own.get("lag", "unknown")
    behind = f"{_megabytes(lag)} MB behind" if isinstance(lag, int) else f"lag {lag}"
    step = (
        "" if own["state"] == "streaming" else f"; next: `journalctl -u patroni`, `make reinit machine={own['name']}`"
    )
    return f"{role} ({own['state']}), {behind}, {where}{step}"


def _members_line(name: str, seen: Answer) -> str:
    found, wanted = seen["status"], seen["members"]
    if not found:
        return f"votes, but reaches no quorum; next: `journalctl -u etcd` on {name}"
    leader = next((wanted.get(format(one["Status"]["leader"], "x"), "") for one in found), "")
    away = sorted(set(wanted.values()) - {wanted.get(format(o["Status"]["header"]["member_id"], "x")) for o in found})
    what = f"votes; {len(found)} of {len(wanted)} members answer, {leader or 'nobody'} leads them"
    return f"{what}; next: `make drift`: {', '.join(away)} does not answer" if away else what


def _megabytes(size: float | None) -> int:
    return int(size or 0) // 2**20
