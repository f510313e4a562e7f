"""etcd's members."""

from __future__ import annotations

from typing import Any, TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import etcd as on_machine


class MemberRequest(TypedDict):
    """Paths; `health`: the member's URL, or ""; `ctl`: who asks the cluster as root, or "" to ask nothing of it;
    `peer`: the certificate for other members; `authorities`: the files with whom it trusts as a client and a member."""

    data: str
    forming: str
    health: str
    folder: str
    peer: str
    authorities: list[str]
    ctl: str


class MemberState(TypedDict):
    """Whether it has data, whether they are of a cluster that is still forming, whether it runs and sees a quorum.

    `apart`: whether it shows other members a certificate for them alone, as far as it runs; `trusts_both`: whether it
    still takes for a member who could be a client.

    Of the cluster: whether passwords count, whether root comes in with ours; its users, and its members: by name, or
    by peer URL before their first start.
    """

    data: bool
    forming: bool
    active: bool
    healthy: bool
    apart: bool
    trusts_both: bool
    auth: bool
    opens: bool
    users: list[str]
    members: list[str]


class MembersState(TypedDict):
    """What etcdctl says of each member that answers (endpoint status, JSON), and the names of all by id."""

    status: list[dict[str, Any]]
    members: dict[str, str]


class DiskRequest(TypedDict):
    """`metrics`: the member's URL; `folder`: certificates."""

    metrics: str
    folder: str


class DiskState(TypedDict):
    """Seconds that 99 of 100 writes stay below since the member was started: to its log, to its data; None for none."""

    log: float | None
    data: float | None


ETCD_MEMBER = Fact(on_machine.etcd_member)
ETCD_MEMBERS = Fact(on_machine.etcd_members)
"""Asked by a path: bastide-etcdctl."""
ETCD_DISK = Fact(on_machine.etcd_disk)
"""None for a member that says nothing."""
