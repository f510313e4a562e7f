"""What is changed in the database cluster while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from pyinfra.api.host import Host
from pyinfra.api.operation import operation

from bastide.patroni import dynamic_configuration
from deploys import remote
from deploys.facts.ask import ask, forget, forget_all, this_host
from deploys.facts.patroni import PATRONI, cluster_by, restart_waits
from deploys.facts.postgres import DATABASES
from deploys.operations.files import Commands
from deploys.postgres import rights
from deploys.postgres.rights import Shape, Statement


@operation()
def shared_settings(wanted: dict[str, Any], plan: dict[str, Any]) -> Commands:
    """Bring what all members share to what is wanted; what is not named there goes.

    + wanted: the whole dynamic configuration
    + plan: as `deploys/remote/postgres.py` has it; secret
    """
    host = this_host()
    seen = dynamic_configuration(ask(host)[PATRONI]["config"])
    # a pause stands there too, and is nothing that a stack file says
    if seen is not None and seen.settings == wanted:
        host.noop("all members share what is wanted")
        return
    try:
        yield remote.command("postgres", "share", plan, wanted)
    finally:
        forget_all(host)


@operation()
def roll(plan: dict[str, Any], leads: bool) -> Commands:
    """Restart this machine's server if a change or a newer program waits for that, and if that can be done now.

    + plan: as `deploys/remote/postgres.py` has it; secret
    + leads: whether it is the leader's turn: it hands over first. Else it is the replicas'.

    Only while every other server is well; never two at once (call it with `_serial=True`).
    """
    host = this_host()
    # what is shared may have changed in this run: what was kept of this machine was forgotten with that
    seen = ask(host)[PATRONI]
    if not restart_waits(seen) or (cluster_by(seen).leader == plan["name"]) != leads:
        host.noop("nothing waits for a restart here")
        return
    try:
        yield remote.command("postgres", "roll", plan, leads, seen["outdated"] == "patroni")
    finally:
        forget_all(host)


@operation()
def switchover(plan: dict[str, Any], to: str) -> Commands:
    """Hand over from this machine, if it leads.

    + plan: as `deploys/remote/postgres.py` has it; secret
    + to: who shall lead; "" for whoever is best
    """
    host = this_host()
    if cluster_by(ask(host)[PATRONI]).leader != plan["name"]:
        host.noop(f"{plan['name']} does not lead")
        return
    try:
        yield remote.command("postgres", "switchover", plan, to)
        _say(host, f"{plan['name']} has handed over; next: `make cluster` says how it is")
    finally:
        forget_all(host)


@operation()
def clients_wait(plan: dict[str, Any], before_restart: bool) -> Commands:
    """Have the clients of this site's pool wait for the next leader, for some seconds at most.

    + plan: as `deploys/remote/pool.py` has it, but for the leader
    + before_restart: only if the leader waits for a restart, before which it hands over
    """
    host = this_host()
    seen = ask(host)[PATRONI]
    cluster = cluster_by(seen)
    leader = cluster.member(cluster.leader)
    waits = leader is not None and (leader.pending_restart or _restart_waits(host, leader.name))
    if leader is None or len(cluster.members) < 2 or (before_restart and not waits):
        host.noop("nobody hands over")
        return
    yield remote.command("pool", "wait_out", {**plan, "leader": leader.name})


def _restart_waits(host: Host, name: str) -> bool:
    """Whether a restart waits on the machine of that name, as far as it takes part in this run."""
    other = next((one for one in host.state.inventory.get_active_hosts() if one.name == name), None)
    return other is not None and restart_waits(ask(other)[PATRONI])


@operation()
def reinit(plan: dict[str, Any], force: bool) -> Commands:
    """Make this machine's copy of the data anew from the leader's.

    + plan: as `deploys/remote/postgres.py` has it; secret
    + force: also when it is the only copy in sync beside the leader's
    """
    host = this_host()
    try:
        yield remote.command("postgres", "reinit", plan, force)
        _say(host, f"{plan['name']} has a new copy and follows; next: `make cluster` says how it is")
    finally:
        forget_all(host)


@operation()
def pause(plan: dict[str, Any], wanted: bool) -> Commands:
    """Let Patroni decide nothing (`wanted`), or decide again.

    + plan: as `deploys/remote/postgres.py` has it; secret
    """
    host = this_host()
    if cluster_by(ask(host)[PATRONI]).paused == wanted:
        host.noop("the cluster is paused already" if wanted else "the cluster is not paused")
        return
    try:
        yield remote.command("postgres", "pause", plan, wanted)
        if wanted:
            _say(host, "paused: nobody takes over when the leader fails; next: `make resume` as soon as you are done")
        else:
            _say(host, "Patroni decides again; next: `make cluster` says how it is")
    finally:
        forget_all(host)


def _say(host: Host, text: str) -> None:
    """Once it is done: operations run in prepare, and again in execute, where a failed command ends them."""
    if host.state.is_executing:
        host.log(text)


@operation()
def databases(shape: Shape, keys: Mapping[str, SecretStr]) -> Commands:
    """Make roles, databases and rights as declared, on whichever machine leads.

    + shape: what is wanted
    + keys: the roles' verifiers by name; they go over standard input
    """
    host = this_host()
    seen = ask(host, DATABASES.request(shape.asked))[DATABASES]
    if seen is None:
        host.noop("another server leads")
        return
    yield from _execute(host, rights.statements(shape, keys, seen), "roles, databases and rights are as declared")


@operation()
def own_passwords(keys: Mapping[str, SecretStr]) -> Commands:
    """Give the members' own roles their present passwords, on whichever machine leads, before members use them.

    + keys: their verifiers by name; they go over standard input
    """
    host = this_host()
    seen = ask(host)[DATABASES]
    if seen is None:
        host.noop("another server leads, or none does yet")
        return
    yield from _execute(host, rights.own_statements(keys, seen), "the members' passwords are the present ones")


def _execute(host: Host, todo: list[Statement], nothing: str) -> Commands:
    if not todo:
        host.noop(nothing)
        return
    if not host.state.is_executing:  # operations run in prepare, and again in execute
        for one in todo:
            for line in one.shown.splitlines():
                host.log(f"{one.database}: {line}")
    try:
        yield remote.command("postgres", "execute", [[one.database, one.text] for one in todo])
    finally:
        forget(host)
