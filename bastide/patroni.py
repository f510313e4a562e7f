"""What Patroni's REST API says of the database cluster, read once and typed: /cluster, /patroni, /config.

Patroni's own words (Patroni 4.0 manual, "REST API"; what is not there for a server is left out of its answers):

- /cluster lists the members with their roles: `leader`, `sync_standby`, `replica`. A leader's state is `running`, that
  of a replica whose replication is at work `streaming`. Of two answers neither need be the newer one: a Patroni that is
  cut off from etcd knows only how things were before.
- /patroni is what a member says of its own server, which is newer than what it has told etcd.
- /config is the dynamic configuration, that all members share. A pause stands there too, though no stack file says it.

Stdlib only and nothing else of the project: this file can be sent to a machine as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# "primary" and "master" are what /patroni calls the leader's server, since 4.0 and before
_LEADER_ROLES = ("leader", "primary", "master")


@dataclass(frozen=True)
class Member:
    """A member as /cluster lists it. `lag` is in bytes, `None` where it is unknown and for the leader."""

    name: str
    role: str
    state: str
    api_url: str = ""
    timeline: int | None = None
    lag: int | None = None
    pending_restart: bool = False

    @property
    def leads(self) -> bool:
        """Whether it holds the leader's lock; whether its server runs is another question."""
        return self.role in _LEADER_ROLES

    @property
    def in_sync(self) -> bool:
        """Whether a commit waits for it."""
        return self.role == "sync_standby"

    @property
    def streams(self) -> bool:
        """Whether it replicates."""
        return self.state == "streaming"

    @property
    def well(self) -> bool:
        """Whether its server runs, as a leader's or a replica's."""
        return self.state in ("running", "streaming")

    @property
    def base_url(self) -> str:
        """Where its Patroni answers, without a path."""
        return self.api_url.removesuffix("/patroni")


@dataclass(frozen=True)
class ClusterState:
    """The cluster as one Patroni sees it. Without a member it says nothing."""

    members: tuple[Member, ...] = ()
    paused: bool = False
    """Whether Patroni decides nothing: no failover, no restart."""

    @property
    def leader(self) -> str:
        """Who leads with a server that runs; "" for nobody."""
        return next((member.name for member in self.members if member.leads and member.state == "running"), "")

    @property
    def followers(self) -> tuple[Member, ...]:
        """All members but the leader; all of them while nobody leads."""
        return tuple(member for member in self.members if member.name != self.leader)

    @property
    def unwell(self) -> tuple[Member, ...]:
        """Members whose server neither runs nor streams; all of them while nobody leads."""
        return tuple(member for member in self.members if not self.leader or not member.well)

    @property
    def restart_waits(self) -> bool:
        """Whether a change waits for a member's restart."""
        return any(member.pending_restart for member in self.members)

    def member(self, name: str) -> Member | None:
        """The member of this name."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True)
class ServerState:
    """What a Patroni says of its own server.

    `server_version` is PostgreSQL's `server_version_num`, `None` while it does not run. `pending` are the settings that
    wait for a restart, each with its old and its new value.
    """

    state: str
    role: str = ""
    server_version: int | None = None
    pending_restart: bool = False
    pending: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    paused: bool = False
    started: str = ""
    """When its postmaster was started."""

    @property
    def leads(self) -> bool:
        """Whether it is the leader's."""
        return self.role in _LEADER_ROLES

    @property
    def runs(self) -> bool:
        """Whether it runs; a replica's, too."""
        return self.state == "running"

    def restart_waits(self, installed: str) -> bool:
        """Whether a setting waits for a restart, or another program than the installed one runs.

        `installed` is what `postgres --version` says, "" where that is not known.
        """
        if self.pending_restart:
            return True
        return bool(installed) and self.server_version is not None and self.server_version != version_number(installed)


@dataclass(frozen=True)
class DynamicConfiguration:
    """What all members share. `settings` is all of it but a pause."""

    settings: Mapping[str, Any]
    paused: bool = False

    @property
    def synchronous(self) -> bool:
        """Whether a commit waits for a standby."""
        return bool(self.settings.get("synchronous_mode"))


def cluster_state(answer: object) -> ClusterState | None:
    """The answer of /cluster, parsed from JSON; `None` for none, or for something that is no such answer."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("members"), list):
        return None
    members = tuple(_member(one) for one in answer["members"] if isinstance(one, Mapping))
    return ClusterState(members, bool(answer.get("pause")))


def server_state(answer: object) -> ServerState | None:
    """The answer of /patroni, parsed from JSON; `None` for none."""
    if not isinstance(answer, Mapping) or not answer:
        return None
    reasons = answer.get("pending_restart_reason")
    return ServerState(
        state=_text(answer, "state"),
        role=_text(answer, "role"),
        server_version=_number(answer, "server_version"),
        pending_restart=bool(answer.get("pending_restart")),
        pending={
            str(name): (_text(values, "old_value"), _text(values, "new_value"))
            for name, values in (reasons.items() if isinstance(reasons, Mapping) else ())
            if isinstance(values, Mapping)
        },
        paused=bool(answer.get("pause")),
        started=_text(answer, "postmaster_start_time"),
    )


def dynamic_configuration(answer: object) -> DynamicConfiguration | None:
    """The answer of /config, parsed from JSON; `None` for none."""
    if not isinstance(answer, Mapping):
        return None
    settings = {str(name): value for name, value in answer.items() if name != "pause"}
    return DynamicConfiguration(settings, bool(answer.get("pause")))


def version_number(text: str) -> int:
    """ "postgres (PostgreSQL) 17.6 (Debian 17.6-1)" is 170006, as `server_version_num` has it."""
    major, _, minor = text.split(")", 1)[1].split()[0].partition(".")
    return int(major) * 10000 + int("".join(filter(str.isdigit, minor)) or 0)


def _member(answer: Mapping[str, Any]) -> Member:
    return Member(
        name=_text(answer, "name"),
        role=_text(answer, "role"),
        state=_text(answer, "state"),
        api_url=_text(answer, "api_url"),
        timeline=_number(answer, "timeline"),
        lag=_number(answer, "lag"),
        pending_restart=bool(answer.get("pending_restart")),
    )


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return "" if value is None else str(value)


def _number(answer: Mapping[str, Any], name: str) -> int | None:
    """A number; Patroni says "unknown" for a lag that it does not know."""
    value = answer.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
