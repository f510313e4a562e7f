"""Who leads the databases, who follows and how far behind: each site shows what its own Patroni says, and whoever
tells puts that together. It is said of the cluster and of no machine, so that it is told once."""

from __future__ import annotations

import json
import socket
from typing import Any

from bastide.patroni import Member, cluster_state, server_state

from .findings import Finding, Seen, text

CLUSTER = "database cluster"
"""Whom its findings are of, in the place of a machine: no server can have a space in its name."""
View = dict[str, Any]
"""What a site's Patroni says: whether it `answers`; whether its own server `leads`; of the cluster its `leader` ("" for
nobody, None where it does not say) and `members` (name: {"state": ..., "lag": bytes or None})."""
SETTLE = {"leader": 60.0, "leaders": 45.0, "follower": 300.0}
"""Seconds for which each must last. A switchover takes a few and a failover up to 30 (Patroni's ttl is 20), and what
sites show is a round old; a standby that is made anew follows as soon as it is a copy."""
_ASK_SECONDS = 10
_MOST_BYTES = 1_000_000
_MOST_MEMBERS = 20
_NEXT = "make cluster; docs/how-to/failover.md"


def own_view(path: str) -> View:
    """What Patroni says on this site.

    `path`: of the socket behind which somebody asks it, which accounts without a right may not. Raises `OSError` when
    nobody does, `ValueError` for what is no answer of Patroni's.
    """
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_ASK_SECONDS)
        asked.connect(path)
        said = asked.makefile("rb").read(_MOST_BYTES).decode()
    # a line for each that was asked, empty without an answer
    of_cluster, of_server, *_ = [json.loads(line) if line else None for line in (*said.split("\n"), "", "")]
    cluster, own = cluster_state(of_cluster), server_state(of_server)
    members = {one.name: {"state": one.state, "lag": one.lag} for one in cluster.members} if cluster else {}
    return {
        "answers": cluster is not None or own is not None,
        "leads": own is not None and own.leads and own.runs,
        "leader": cluster.leader if cluster else None,
        "members": members,
    }


def view_of(page: dict[str, Any]) -> View | None:
    """What a page says of it, as far as it is what it should be: another machine may be anybody's by now."""
    view = page.get("cluster")
    if not isinstance(view, dict) or not isinstance(view.get("members"), dict):
        return None
    leader = view.get("leader")
    members: dict[str, Any] = {}
    for name, one in list(view["members"].items())[:_MOST_MEMBERS]:
        if isinstance(one, dict):
            lag = one.get("lag")
            members[text(name)] = {"state": text(one.get("state", "")), "lag": lag if isinstance(lag, int) else None}
    said = text(leader) if isinstance(leader, str) else None
    flags = {name: view.get(name) is True for name in ("answers", "leads")}
    return {**flags, "leader": said, "members": members}


def silent_patroni(view: View) -> list[Seen]:
    """What a site itself says when its Patroni does not answer."""
    what = "Patroni does not answer: its database server does not take over"
    return [] if view["answers"] else [Seen("patroni/answer", what, "journalctl -u patroni -n 50")]


class ClusterWatch:
    """What is wrong with the cluster by what its sites show. `since` keeps from one look to the next since when."""

    def __init__(self, sites: list[str], most_behind_mb: int, since: dict[str, float]) -> None:
        self._sites, self._most, self._since = sites, most_behind_mb, since

    def findings(self, views: dict[str, View], now: float) -> dict[str, Finding] | None:
        """By key, what has lasted for long enough. `views`: of the sites that answer; None where nobody can say."""
        if not any(view["leader"] is not None for view in views.values()) and len(views) < len(self._sites):
            return None
        seen = {one.key: one for one in self._seen(views)}
        # while it is not clear who leads, nobody knows who follows: what was said of that stays
        unclear = any(key.startswith("leader") for key in seen)
        kept = {k: since for k, since in self._since.items() if k in seen or (unclear and k.startswith("follower/"))}
        # of a site that does not answer its silence is told
        silent = {f"follower/{name}" for name in self._sites if name not in views}
        fresh = {key: now for key in seen if key not in kept and key not in silent}
        self._since.clear()
        self._since.update({**kept, **fresh})
        found: dict[str, Finding] = {}
        for key, since in self._since.items():
            if now - since >= SETTLE[key.partition("/")[0]]:
                one = seen.get(key) or Seen(key, f"{key.partition('/')[2]} does not follow", _NEXT)
                found[key] = {"what": one.what, "since": since, "next": one.next, "event": False, "last": now}
        return found

    def _seen(self, views: dict[str, View]) -> list[Seen]:
        leads = sorted(name for name, view in views.items() if view["leads"])
        if len(leads) > 1:
            return [Seen("leaders/all", f"{' and '.join(leads)} both lead: what one takes the other has not", _NEXT)]
        # a Patroni that is cut off knows only how things were: whoever is said to lead and answers is asked itself
        said = {view["leader"] for view in views.values() if view["leader"]} - set(views)
        if not leads and not said:
            return [Seen("leader/none", "nobody leads: nothing can be written", _NEXT)]
        leader = leads[0] if leads else sorted(said)[0]
        # the leader knows best who follows it
        members: dict[str, Any] = next((views[name]["members"] for name in (leader, *views) if name in views), {})
        return [one for name in self._sites if name != leader for one in self._behind(name, members.get(name))]

    def _behind(self, name: str, known: dict[str, Any] | None) -> list[Seen]:
        if known is None:
            return [Seen(f"follower/{name}", f"{name} does not follow: its Patroni is not there", _NEXT)]
        member = Member(name, "replica", known["state"], lag=known["lag"])
        if not member.streams:
            return [Seen(f"follower/{name}", f"{name} does not follow: it is {member.state or 'unknown'}", _NEXT)]
        if (behind := (member.lag or 0) // 1_000_000) > self._most:
            return [Seen(f"follower/{name}", f"{name} is {behind} MB behind the leader", _NEXT)]
        return []
