"""What decides whether a deploy can begin."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import machine as on_machine


class MachineRequest(TypedDict):
    """`people`: account names; `lock_seconds`: how long a held package lock is waited for.

    `ports`: protocol and number of each port that is needed; `instead`: packages that would do what ours do;
    `whole`: by unit the file of settings that would be ours.
    """

    ports: list[tuple[str, int]]
    instead: list[str]
    whole: dict[str, str]
    own_rules: str
    timezone: str
    locale: str
    people: list[str]
    lock_seconds: int


class Holder(TypedDict):
    """Who listens on a port: the program, and the unit of systemd that it belongs to; "the kernel" for both where no
    program has it."""

    program: str
    unit: str


class Disk(TypedDict):
    """`free_inodes` is `None` for a file system that counts none."""

    free_mb: int
    free_inodes: int | None


class MachineState(TypedDict):
    """`container`: its kind, or ""; `package_lock`: who holds it; `clock`: now.

    `holders`: who listens, by "tcp/22"; `instead`: those packages that are there; `strange`: units that run with
    settings that are not ours, with the file; `other_rules`: whether nftables.service would load rules of somebody;
    `bridges`: interfaces that containers or virtual machines hang on.
    """

    root: bool
    system: str
    version: str
    container: str
    disks: dict[str, Disk]
    package_lock: str
    reboot: bool
    holders: dict[str, list[Holder]]
    instead: list[str]
    strange: dict[str, str]
    other_rules: bool
    bridges: list[str]
    zone: bool
    locale: bool
    system_accounts: list[str]
    cloud_init: bool
    clock: float


MACHINE: Fact[MachineRequest, MachineState | None] = Fact(on_machine.machine)
"""`None` when sudo does not make root."""
