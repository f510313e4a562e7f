"""What was found, in lines for people: each machine, the database cluster, the proofs, the lock of the state.

A line that is not well ends with the next step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from bastide.evidence import digest
from bastide.findings import Finding
from bastide.machines import Inventory, build_dir
from bastide.patroni import ClusterState, Member, cluster_state
from bastide.provider import state_locks
from bastide.report import Report
from hosts.commands.health.observation import Observation

_NAMED = 6  # sentences that are not proven
_FULL_PERCENT = 85
# Patroni, etcd and replication stop together when they run out. Good for 270 days, made anew by a deploy every 90:
# so few are left only where nobody has deployed for months
_CERTIFICATE_DAYS = 60


def machine_lines(seen: list[Observation], head: str, inventory: Inventory) -> Iterator[Finding]:
    """One line a machine. `head` is the commit of this clone, "" when there is none."""
    for one in seen:
        role = f"{one.name} ({inventory[one.name].role}, {inventory[one.name].location})"
        if one.problem:
            log_in = f"`ssh -v -F {build_dir(inventory.stack)}/ssh_config {one.name}`, `make drift`"
            yield Finding("missing", f"{role}: {one.problem}", log_in)
            continue
        facts = f"up {_age(one.up_seconds)}, disk {one.disk_used} % used, {one.disk_free_mb} MB free"
        wrong = list(_wrong(one, head))
        what = ", ".join([facts, *(problem for problem, _ in wrong)] + ([] if wrong else [_deployed(one.revision)]))
        steps = "; ".join(step for _, step in wrong)
        yield Finding("missing" if wrong else "ok", f"{role}: {what}", steps)


def cluster_lines(seen: list[Observation]) -> Iterator[Finding]:
    """One line about the database cluster, where there is one: who leads, who follows, how far behind, the voters."""
    sites = [one for one in seen if one.patroni is not None]
    voters = [one for one in seen if one.voter is not None]
    if not sites and not voters:
        return
    views = {one.name: view for one in sites if (view := cluster_state(one.patroni))}
    leaders = {name: view.leader or "nobody" for name, view in views.items()}
    if len(set(leaders.values())) > 1:
        # one that is cut off from the others knows only how things were before
        said = " and ".join(f"{name} says that {whom} does" for name, whom in leaders.items())
        text = f"cluster: the sites do not agree on who leads: {said}"
        yield Finding("missing", text, "`make cluster` in some seconds; if it stays so, who is cut off: `make drift`")
        return
    cluster = next(iter(views.values()), ClusterState())
    wrong = []
    what = [f"{cluster.leader} leads" if cluster.leader else "nobody leads"]
    what += [_follower(member) for member in cluster.followers]
    if not cluster.leader:
        wrong.append("`make cluster`, docs/how-to/lose-a-server.md")
    if not all(member.streams for member in cluster.followers):
        wrong.append("`make cluster`")
    if len(cluster.members) < 2 and cluster.leader:
        what.append("nobody follows")
        wrong.append("`make drift`, then `make infra deploy` brings a lost machine back")
    if cluster.restart_waits:
        what.append("a restart is pending")
        wrong.append("`make deploy`")
    if cluster.paused:
        what.append("PAUSED: nobody takes over when the leader fails")
        wrong.append("`make resume`")
    well = sum(one.voter is True for one in voters)
    what.append(f"{well} voters well")
    if well < len(voters):
        away = ", ".join(one.name for one in voters if not one.voter)
        wrong.append(f"`journalctl -u etcd` on {away}")
    yield Finding("missing" if wrong else "ok", f"cluster: {', '.join(what)}", "; ".join(dict.fromkeys(wrong)))


def proofs_line(report: Report, now: datetime) -> Finding:
    """How much is proven, how long ago, and what is not."""
    rows = report.evidence.rows
    oldest = max(((now - row.at).total_seconds() for row in rows), default=0.0)
    open_ = [verdict.control.id for verdict in report.unproven if verdict.state != "not_provable_here"]
    elsewhere = [verdict.control.id for verdict in report.unproven if verdict.state == "not_provable_here"]
    what = f"proofs: {len(report.proven)} of {len(report.verdicts)} sentences, the oldest {_age(int(oldest))} old"
    what += f", not provable here: {', '.join(elsewhere)}" if elsewhere else ""
    wanted = digest(report.settings)
    if open_ and rows and all(row.settings != wanted for row in rows):
        changed = f"{what}; the stack file was changed since"
        return Finding("missing", changed, "`make plan`, then `make deploy` and `make prove`")
    if open_:
        return Finding("missing", f"{what}, not proven: {_some(open_)}", "`make verify`, it says why")
    return Finding("ok", what)


def lock_lines(stack: str) -> Iterator[Finding]:
    """Who holds the state of a stack; only a file backend can be asked without its tools."""
    locks = state_locks(stack)
    if locks is None:
        return
    for lock in locks:
        try:
            holder: dict[str, Any] = json.loads(lock.read_text(encoding="utf-8"))
            since = int(time.time() - lock.stat().st_mtime)
        except (OSError, ValueError):
            continue
        who = f"{holder.get('username', '?')} on {holder.get('hostname', '?')} (process {holder.get('pid', '?')})"
        yield Finding(
            "missing", f"state: locked by {who} for {_age(since)}", "wait for it; `make infra` gives up a dead one's"
        )
    if not locks:
        yield Finding("ok", "state: nobody holds it")


def _wrong(one: Observation, head: str) -> Iterator[tuple[str, str]]:
    """What is not well, each with its next step."""
    if one.failed:
        yield f"failed: {', '.join(one.failed)}", f"`systemctl status {one.failed[0]}` on {one.name}"
    if one.reboot:
        yield "a reboot is pending", f"reboot {one.name} when its peers are well"
    if one.outdated:
        yield f"newer {', '.join(one.outdated)} installed, not running yet", "`make deploy`, or its next window does it"
    if one.disk_used >= _FULL_PERCENT:
        yield "its disk fills up", "`du -xh / | sort -h | tail` there"
    if one.certificate_days is not None and one.certificate_days < _CERTIFICATE_DAYS:
        yield f"its certificates end in {one.certificate_days} days", "`make deploy` renews them"
    if not one.revision:
        yield "never completely deployed", "`make deploy`"
    elif head and one.revision.partition("+")[0] != head.partition("+")[0]:
        yield f"{_deployed(one.revision)}, this clone is at {head[:10]}", "`make plan`, then `make deploy`"


def _follower(member: Member) -> str:
    if not member.streams:
        return f"{member.name} does not follow ({member.state})"
    role = "follows in sync" if member.in_sync else "follows"
    behind = "lag unknown" if member.lag is None else f"{member.lag // 2**20} MB behind"
    return f"{member.name} {role}, {behind}"


def _deployed(revision: str) -> str:
    commit, plus, _ = revision.partition("+")
    return f"deployed from {commit[:10]}{' with uncommitted changes' if plus else ''}"


def _some(ids: list[str]) -> str:
    """The first few: all of them when the settings have changed since would fill the screen."""
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")


def _age(seconds: int) -> str:
    """A span as people say it."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
