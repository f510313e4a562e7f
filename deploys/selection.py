"""Which capabilities a run is for, and how a run that cannot begin says so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from bastide.capabilities import ON_MACHINES
from bastide.cluster import cluster_of
from bastide.errors import BastideError
from bastide.mesh import mesh_of
from bastide.open_ports import opened
from bastide.settings import Settings
from deploys import base, fail2ban, firewall, ssh, users, wireguard
from deploys.etcd import deploy as etcd
from deploys.etcd import membership
from deploys.facts.fact import FactRequest, merged
from deploys.operations.files import files_request
from deploys.operations.revision import keyring_file, revision_file
from deploys.postgres import deploy as postgres
from deploys.updates import deploy as updates


class NotBegun(PyinfraError):
    """Shown by pyinfra as it is, without a traceback."""


def selected(only: object) -> tuple[str, ...]:
    """The capabilities that `--data only=a,b` names, in their order; all of them without it.

    Raises `BastideError` for a word that is none, so that a mistyped one never means "nothing to do".
    """
    if only is None:
        return ON_MACHINES
    words = only if isinstance(only, list) else str(only).split(",")
    asked = [str(word).strip() for word in words]
    if unknown := [word for word in asked if word not in ON_MACHINES]:
        raise BastideError(
            f"--data only={','.join(asked)}: {', '.join(map(repr, unknown))} is no capability",
            f"there are {', '.join(ON_MACHINES)}",
        )
    return tuple(word for word in ON_MACHINES if word in asked)


def fact_requests(only: tuple[str, ...]) -> Callable[[Host], FactRequest]:
    """What the selected capabilities will ask of a host."""

    def of(host: Host) -> FactRequest:
        wanted: Settings = host.data.settings
        asked = {
            "base": lambda: base.fact_request(wanted.base, host.data.machine, host.data.machines),
            "users": lambda: users.fact_request(wanted.users),
            "wireguard": lambda: wireguard.fact_request(wanted, host.data.machine, host.data.machines),
            "ssh": lambda: ssh.fact_request(wanted.ssh, wanted.users, wanted.firewall, mesh_of(wanted)),
            "firewall": lambda: firewall.fact_request(
                wanted.firewall, wanted.ssh, wanted.network, host.data.machines, mesh_of(wanted), opened(wanted)
            ),
            "fail2ban": lambda: fail2ban.fact_request(
                wanted.fail2ban, wanted.firewall, wanted.network, host.data.machines, mesh_of(wanted)
            ),
            "etcd": lambda: etcd_request(host, wanted),
            "postgres": lambda: postgres_request(host, wanted),
            "updates": lambda: updates.fact_request(
                wanted.updates, updates.plan_of(wanted, host.data.machine, host.data.machines)
            ),
        }
        return merged(
            files_request((revision_file(), keyring_file(host.data.keyring))), *(asked[word]() for word in only)
        )

    return of


def etcd_request(host: Host, wanted: Settings) -> FactRequest:
    """What etcd asks of a host, in a stack that has it."""
    if not wanted.etcd_members:
        return {}
    members = membership.members_of(wanted, host.data.machine, host.data.stack)
    return (
        etcd.no_vote_request(members)
        if not members.votes
        else etcd.fact_request(wanted.etcd, members, host.data.keyring)
    )


def postgres_request(host: Host, wanted: Settings) -> FactRequest:
    """What Postgres asks of a host, in a stack that has it."""
    if wanted.postgres is None:
        return {}
    return postgres.fact_request(cluster_of(wanted, host.data.machine, host.data.stack), host.data.keyring)


def adopted(word: object, wanted: Settings) -> None:
    """Raise `BastideError` when `--data adopt=` names no machine that carries Postgres."""
    if word is not None:
        a_site(word, wanted, "adopt", "make deploy adopt=standby")


def a_site(word: object, wanted: Settings, key: str, example: str) -> str:
    """The machine that `--data KEY=` names: one that carries Postgres. Raises `BastideError` for any other word."""
    sites = ", ".join(wanted.sites)
    if word is None:
        raise BastideError(f"which machine? there are {sites}", example)
    if word not in wanted.sites:
        raise BastideError(f"{key}={word}: no machine of this name carries Postgres", f"there are {sites}")
    return str(word)


@contextlib.contextmanager
def for_people() -> Iterator[None]:
    """Turn an error of ours into one that pyinfra prints as a message."""
    try:
        yield
    except BastideError as error:
        raise NotBegun(f"{error.message}\n next: {error.hint}" if error.hint else error.message) from None
