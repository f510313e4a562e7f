"""What kernels have been told."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import sysctls as on_machine


class SysctlState(TypedDict):
    """`values`: by path below /proc/sys; none where the kernel has no such thing. `settable`: whether the machine may
    set it: a container shares most of them with all others on its host."""

    values: dict[str, str]
    settable: bool


SYSCTLS = Fact(on_machine.sysctls)
"""By path below /proc/sys, in which `*` is a folder of any name."""
ADVERTISED = Fact(on_machine.advertised)
"""Interfaces with a way out by IPv6 that the kernel has from a router's advertisements."""
