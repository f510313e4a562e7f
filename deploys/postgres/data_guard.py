"""Whose data lie on the machines, and who holds the cluster still: what forbids a deploy before anything is changed.

Patroni would refuse another cluster's data by itself, again and again, in a log; and without a cluster in etcd it would
take whatever data it finds for the cluster's own. Nothing here, and nothing after it, wipes a data directory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from deploys.etcd.beginning import begins, half_way, holders
from deploys.facts.etcd import ETCD_MEMBER
from deploys.facts.fact import Facts
from deploys.facts.patroni import PATRONI, PatroniState, cluster_by, restart_waits

_PARTIAL = "?"


def problems(seen: Mapping[str, Facts], data: str, members: Collection[str], adopt: str = "") -> list[str]:
    """Every problem, a line each. `seen`: what the machines said; `data`: the data directory; `members`: who votes.

    `adopt` names the machine whose data the operator declares to be the cluster's, after etcd has lost all.
    """
    sites = {name: site for name, facts in seen.items() if (site := facts.get(PATRONI))}
    return [
        *_whose(sites, data, adopt, begun=not begins(seen, members)),
        *_few_stay(seen, members),
        *_not_all(seen, members),
        *_paused(sites),
    ]


def _whose(sites: Mapping[str, PatroniState], data: str, adopt: str, *, begun: bool) -> Iterator[str]:
    # a Patroni that answers sees to its copy itself: it may be in the midst of making one
    for name, site in sites.items():
        if site["data"] == _PARTIAL and site["patroni"] is None:
            yield f"{name}: {data} holds no whole database; it is never wiped: see what it is, then {_away(data)}"
    ids = {name: site["data"] for name, site in sites.items() if site["data"] not in ("", _PARTIAL)}
    if not begun and adopt not in ids:
        for name, one in ids.items():
            yield (
                f"{name}: {data} holds a database (system identifier {one}), and no etcd member knows of a cluster; "
                f"it is never wiped: another's? then {_away(data)}; this stack's, and etcd has lost all? "
                f"then `make deploy adopt={name}`"
            )
        return
    own = _identity(sites, ids, adopt)
    if own:
        for name, one in ids.items():
            if one != own:
                yield (
                    f"{name}: {data} holds the data of another cluster (system identifier {one}, this one's is {own}); "
                    f"it is never wiped: see what it is, then {_away(data)}"
                )
    elif len(set(ids.values())) > 1:
        both = ", ".join(f"{name} {one}" for name, one in ids.items())
        yield (
            f"{' and '.join(ids)} hold the data of different clusters (system identifiers: {both}), and nobody leads; "
            f"none is ever wiped: see which is this stack's, then on the other {_away(data)}"
        )


def _few_stay(seen: Mapping[str, Facts], wanted: Collection[str]) -> Iterator[str]:
    """Who is dismissed goes before others come: what all members know must not lie on one of them alone meanwhile."""
    told = (member["members"] for facts in seen.values() if (member := facts.get(ETCD_MEMBER)))
    members: list[str] = next(filter(None, told), [])
    # data of a membership that has ended are nobody's
    hold = [name for name in holders(seen) if not members or name in members]
    stay = [name for name in hold if name in wanted]
    # a run on some machines dismisses nobody; where one alone is to vote, nobody comes meanwhile
    if set(wanted) <= set(seen) and len(hold) > len(stay) < min(2, len(wanted)):
        yield (
            f"{', '.join(hold)} vote today, and with etcd.voters: {', '.join(wanted)} only "
            f"{', '.join(stay) or 'nobody'} of them would stay; change one, deploy, then the next one (and none while "
            "one of those who vote has lost its data: deploy with etcd.voters as it was)"
        )


def _not_all(seen: Mapping[str, Facts], members: Collection[str]) -> Iterator[str]:
    for name in half_way(seen, members):
        yield (
            f"{name}: its voter does not tell other voters from clients by their certificates yet, and all voters must "
            "be in the run that changes this; `make deploy` for all machines, once"
        )


def _paused(sites: Mapping[str, PatroniState]) -> Iterator[str]:
    for name, site in sites.items():
        if cluster_by(site).paused and restart_waits(site):
            yield f"{name}: waits for a restart, and the cluster is paused; `make resume`"


def _identity(sites: Mapping[str, PatroniState], ids: Mapping[str, str], adopt: str) -> str:
    """The cluster's system identifier: the leader's."""
    leader = next((name for site in sites.values() if (name := cluster_by(site).leader) in ids), adopt)
    return ids.get(leader, "")


def _away(data: str) -> str:
    return f"`mv {data} {data}.aside` there"
