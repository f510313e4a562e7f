"""Members of etcd, and who may speak to them."""

from __future__ import annotations

from typing import Any

from pyinfra.api.operation import operation

from deploys import remote
from deploys.facts.machine import ask, forget, this_host
from deploys.operations.files import Commands


@operation()
def join(plan: dict[str, Any]) -> Commands:
    """Bring this machine's member in, if it has no data: beginning a cluster with all others, or joining theirs.

    + plan: as `deploys/remote/etcd.py` has it
    """
    host = this_host()
    seen = ask(host)["etcd"]
    if seen["data"] and seen["active"] and not (plan["begins"] and seen["forming"]):
        host.noop("the member has its data and runs")
        return
    try:
        yield remote.command("etcd", "join", plan)
    finally:
        forget(host)


@operation()
def access(plan: dict[str, Any]) -> Commands:
    """Make root and the users as planned, take away all others of ours, and let nobody in without a password.

    + plan: as `deploys/remote/etcd.py` has it; secret, it goes over standard input
    """
    host = this_host()
    seen = ask(host)["etcd"]
    if seen["auth"] and seen["opens"] and set(seen["users"]) == {"root", *plan["users"]}:
        host.noop("users are as wanted")
        return
    try:
        yield remote.command("etcd", "access", plan)
    finally:
        forget(host)
