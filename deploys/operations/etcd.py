"""Members of etcd, and who may speak to them."""

from __future__ import annotations

import contextlib
from typing import Any

import gevent  # type: ignore[import-untyped]
from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from deploys import remote
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.etcd import ETCD_MEMBER
from deploys.facts.files import FILES
from deploys.operations.files import Commands

_ASKED = 5


@operation()
def join(plan: dict[str, Any]) -> Commands:
    """Bring this machine's member in, if it has no data: beginning a cluster with all others, or joining theirs.

    + plan: as `deploys/remote/etcd.py` has it; secret, it goes over standard input
    """
    host = this_host()
    seen = ask(host)[ETCD_MEMBER]
    if seen["data"] and seen["active"] and not (plan["begins"] and seen["forming"]):
        host.noop("the member has its data and runs")
        return
    try:
        yield remote.command("etcd", "join", plan)
    finally:
        forget(host)


@operation()
def dismiss(plan: dict[str, Any]) -> Commands:
    """Have the cluster count nobody who is not among the planned members.

    + plan: as `deploys/remote/etcd.py` has it for `join`; secret, it goes over standard input
    """
    host = this_host()
    seen = ask(host)[ETCD_MEMBER]
    # one without data is told by its own coming in; one that does not say who votes may come to know it in this run
    if not seen["data"] or (seen["members"] and not without_vote(seen["members"], plan["peers"])):
        host.noop("nobody else votes")
        return
    try:
        yield remote.command("etcd", "dismiss", plan)
    finally:
        forget(host)


def without_vote(members: list[str], peers: dict[str, str]) -> list[str]:
    """Those of the cluster's members (names; the peer URL of one that was never there) that are none of `peers`."""
    return [one for one in members if one not in peers and one not in peers.values()]


@operation()
def leave(plan: dict[str, Any], administrator: str) -> Commands:
    """Stop this machine's member and leave nothing of it: when the administrator's cluster does not count it any more.

    + plan: as `deploys/remote/etcd.py` has it
    + administrator: the host that is asked
    """
    host = this_host()
    facts = ask(host)
    seen, kept = facts[ETCD_MEMBER], facts[FILES][plan["gone"][-1]]
    if not seen["data"] and not seen["active"] and kept is None:
        host.noop("no member, and nothing of one")
        return
    try:
        yield FunctionCommand(_counts_nobody_else, (plan["peers"], administrator), {})
        yield remote.command("etcd", "leave", plan)
    finally:
        forget(host)


def _counts_nobody_else(state: State, host: Host, peers: dict[str, str], administrator: str) -> bool:
    """Whether the administrator says who votes, and that is nobody but `peers`; says so when not."""
    members: list[str] = []
    asked = state.inventory.get_host(administrator)
    # there is no answer while the leadership of the members moves, as it does after one of them has left
    for _ in range(_ASKED):
        forget(asked)
        with contextlib.suppress(PyinfraError):
            members = ask(asked)[ETCD_MEMBER]["members"]
        if members:
            break
        gevent.sleep(1)
    strangers = without_vote(members, peers)
    if members and not strangers:
        return True
    why = f"counts {', '.join(strangers)} still" if members else "does not say who votes"
    host.log_styled(f"its member stays: {administrator} {why}; next: the same again", fg="red", log_func=logger.error)
    return False


@operation()
def access(plan: dict[str, Any]) -> Commands:
    """Make root and the users as planned, take away all others of ours, and let nobody in without a password.

    + plan: as `deploys/remote/etcd.py` has it; secret, it goes over standard input
    """
    host = this_host()
    seen = ask(host)[ETCD_MEMBER]
    if seen["auth"] and seen["opens"] and set(seen["users"]) == {"root", *plan["users"]}:
        host.noop("users are as wanted")
        return
    try:
        yield remote.command("etcd", "access", plan)
    finally:
        forget(host)
