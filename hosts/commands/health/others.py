"""Whether a machine may go down: are all others well, is there a quorum without it, and does it lead?"""

from __future__ import annotations

from collections.abc import Iterator

from bastide.patroni import ClusterState, cluster_state
from hosts.commands.health.observation import Observation


def against_going_down(name: str, seen: list[Observation]) -> Iterator[str]:
    """Why the machine must not go down now, each reason as a sentence; none when it may.

    `seen` are all machines of the stack. A machine that is the only one to vote, or the only site, may: it stops what
    hangs on it either way, and there is nobody to wait for.
    """
    for one in seen:
        if one.name == name:
            continue
        if one.problem:
            yield f"{one.name} does not answer: {one.problem}"
        elif one.failed:
            yield f"{one.name} has failed units: {', '.join(one.failed)}"
    members = [one for one in seen if one.voter is not None]
    without = [one.name for one in members if one.name != name]
    well = [one.name for one in members if one.name != name and one.voter]
    if without and len(well) <= len(members) // 2:
        who = ", ".join(well) or "no other member"
        yield f"without {name} etcd has no quorum: {who} of {len(members)} would be well"
    if _votes_alone(name, seen) and len([one for one in seen if one.patroni is not None]) > 1:
        yield f"the vote of {name} is the only one: nobody can write while it is down"
    yield from _cluster(name, seen)


def leads(name: str, seen: list[Observation]) -> bool:
    """Whether the machine leads the database cluster, and another one could."""
    cluster = _view(seen)
    return cluster.leader == name and len(cluster.members) > 1 and not _votes_alone(name, seen)


def is_back(name: str, seen: list[Observation]) -> str:
    """What is not well yet of a machine that was down; "" when all of it is."""
    one = next(one for one in seen if one.name == name)
    if one.problem:
        return one.problem
    if one.failed:
        return f"failed units: {', '.join(one.failed)}"
    if one.voter is False:
        return "its etcd member sees no quorum"
    if one.patroni is not None:
        own = _view(seen).member(name)
        if own is None or not (own.leads or own.streams):
            return f"its database is {own.state if own else 'no member of the cluster'}"
    return ""


def _votes_alone(name: str, seen: list[Observation]) -> bool:
    return [one.name for one in seen if one.voter is not None] == [name]


def _cluster(name: str, seen: list[Observation]) -> Iterator[str]:
    if all(one.patroni is None for one in seen):
        return
    cluster = _view(seen)
    if not cluster.leader:
        yield "nobody leads the database cluster"
    if cluster.paused:
        yield "the database cluster is paused: nobody would take over"
    for member in cluster.followers:
        if member.name != name and not member.streams:
            yield f"{member.name} does not follow ({member.state})"


def _view(seen: list[Observation]) -> ClusterState:
    views = [view for one in seen if (view := cluster_state(one.patroni))]
    leaders = {view.leader for view in views}
    # one that is cut off knows only how things were before: then nobody is believed
    return views[0] if len(leaders) == 1 else ClusterState()
