"""Which databases the stack declares, on which machines they are, and who leads."""

from __future__ import annotations

from bastide.errors import BastideError, StackError
from bastide.patroni import ClusterState, cluster_state
from bastide.settings import Postgres
from bastide.settings.postgres import Database
from hosts.commands.health.observation import observe_all
from hosts.stack import Stack


def declared(stack: Stack, name: str, command: str) -> Database:
    """The database of this name in the stack file. Raises `BastideError` for another name; `command` is the target."""
    postgres = of_stack(stack)
    if name not in postgres.databases:
        names = ", ".join(postgres.databases) or "none"
        raise BastideError(
            f"the stack file declares no database {name}" if name else "which database?",
            f"make {command} database=NAME; there are {names}: docs/how-to/postgres.md says how to declare one",
        )
    return postgres.databases[name]


def of_stack(stack: Stack) -> Postgres:
    """What the stack file says of the cluster. Raises `BastideError` when it declares none."""
    if stack.settings.postgres is None:
        raise BastideError(f"the stack {stack.name} has no database cluster", "add settings.postgres to the stack file")
    return stack.settings.postgres


def view(stack: Stack) -> ClusterState:
    """The cluster as the first site that answers sees it. Raises `StackError` when none does."""
    seen = observe_all(stack.inventory(), stack.root)
    views = [state for one in seen if (state := cluster_state(one.patroni)) and state.members]
    if not views:
        raise StackError("no site says how the databases are", "`make status` says what is wrong")
    return next((one for one in views if one.leader), views[0])


def leader(stack: Stack) -> str:
    """Who leads. Raises `StackError` when nobody does."""
    if not (found := view(stack).leader):
        raise StackError("nobody leads the database cluster", "`make cluster` says how it is; then the same command")
    return found
