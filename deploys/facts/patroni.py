"""Patroni."""

from __future__ import annotations

from typing import Literal, TypedDict

from bastide.patroni import ClusterState, cluster_state, server_state
from deploys.facts.fact import Fact
from deploys.remote.facts import patroni as on_machine

Outdated = Literal["patroni", "postgres", ""]


class PatroniRequest(TypedDict):
    """Where this machine's Patroni is, whom to trust, and the data directory."""

    url: str
    ca: str
    data: str


class PatroniState(TypedDict):
    """`patroni`, `cluster` and `config` are its answers as they came, `None` for none: bastide/patroni.py reads them.

    `knows`: whether it has taken over what is shared; `data`: a system identifier, "?" for no whole data directory, ""
    for none; `installed`: what `postgres --version` says; `outdated`: what has to be started again to run what is
    installed: "patroni" (its server with it), "postgres" or "" for nothing.
    """

    memory_mb: int
    patroni: object
    cluster: object
    config: object
    knows: bool
    data: str
    installed: str
    outdated: Outdated


PATRONI = Fact(on_machine.patroni)


def cluster_by(seen: PatroniState) -> ClusterState:
    """The cluster by what one machine's Patroni says: without members and leader when that says nothing."""
    return cluster_state(seen["cluster"]) or ClusterState()


def restart_waits(seen: PatroniState) -> bool:
    """Whether the machine's Postgres says so, or runs another program than the installed one, or Patroni does."""
    own = server_state(seen["patroni"])
    return own is not None and (bool(seen["outdated"]) or own.restart_waits(seen["installed"]))
