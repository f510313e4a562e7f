"""What decides whether a deploy can begin."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import machine as on_machine


class MachineRequest(TypedDict):
    """`people`: account names; `lock_seconds`: how long a held package lock is waited for."""

    ports: list[int]
    timezone: str
    locale: str
    people: list[str]
    lock_seconds: int


class Disk(TypedDict):
    """`free_inodes` is `None` for a file system that counts none."""

    free_mb: int
    free_inodes: int | None


class MachineState(TypedDict):
    """`container`: its kind, or ""; `package_lock`: who holds it; `holders`: who listens on each port; `clock`: now."""

    root: bool
    system: str
    version: str
    container: str
    disks: dict[str, Disk]
    package_lock: str
    reboot: bool
    holders: dict[str, str]
    zone: bool
    locale: bool
    system_accounts: list[str]
    cloud_init: bool
    clock: float


MACHINE: Fact[MachineRequest, MachineState | None] = Fact(on_machine.machine)
"""`None` when sudo does not make root."""
