"""How a run finds the members of etcd, by what all its machines say together: they begin a cluster, or join theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bastide.settings import Settings
from deploys.facts.etcd import ETCD_MEMBER, MemberState
from deploys.facts.fact import Facts


@dataclass(frozen=True)
class Beginning:
    """`begins`: whether there is no cluster yet, so that one is begun; `awaited`: members that hold nothing yet;
    `whole`: whether all machines are in this run, so that somebody may lose a vote; `apart`: whether every member shows
    the others a certificate of the authority for members alone, so that they need trust no other."""

    begins: bool
    awaited: frozenset[str]
    whole: bool
    apart: bool


def beginning_of(settings: Settings, seen: Mapping[str, Facts]) -> Beginning:
    """What all machines of a run go by. `seen`: what they said, by name."""
    members = settings.etcd_members
    whole = set(settings.servers) <= set(seen)
    return Beginning(begins(seen, members), without_data(seen, members), whole, not_apart(seen, members) == [])


def not_apart(seen: Mapping[str, Facts], members: Collection[str]) -> list[str]:
    """The members that run and still show the others what they show to clients, as before 0033."""
    asked = _said(seen, members)
    return [name for name, member in asked.items() if not member["apart"]]


def half_way(seen: Mapping[str, Facts], members: Collection[str]) -> list[str]:
    """The members that must not be changed by a run without all others: who trusts whom is about to change."""
    asked = _said(seen, members)
    if len(asked) == len(members):
        return []
    return [name for name, member in asked.items() if member["trusts_both"] or not member["apart"]]


def begins(seen: Mapping[str, Facts], members: Collection[str]) -> bool:
    """Whether there is no cluster of etcd members, so that one is begun: only known when all of them are asked.
    One that has no vote in the stack file any more may be its last member.

    A member that lost its data and began anew by itself would be taken for what it was before, with an empty log. What
    a deploy began that was killed before the members came together is no cluster yet: it would never have a quorum.
    """
    asked = [name for name in members if name in seen and ETCD_MEMBER in seen[name]]
    return len(asked) == len(members) > 0 and not holders(seen)


def without_data(seen: Mapping[str, Facts], members: Collection[str]) -> frozenset[str]:
    """The members that are new or have lost their data: they come in later, and nobody waits for their answer."""
    known = _said(seen, members)
    return frozenset(name for name, member in known.items() if not member["data"])


def holders(seen: Mapping[str, Facts]) -> list[str]:
    """The machines that hold a member's data of a cluster that came together."""
    asked = {name: member for name, facts in seen.items() if (member := facts.get(ETCD_MEMBER))}
    return [name for name, one in asked.items() if one["data"] and (one["healthy"] or not one["forming"])]


def _said(seen: Mapping[str, Facts], members: Collection[str]) -> dict[str, MemberState]:
    """What the members of this run say of themselves, by name."""
    return {name: member for name in members if name in seen and (member := seen[name].get(ETCD_MEMBER))}
