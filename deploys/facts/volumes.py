"""Disks, and where they are mounted."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import volumes as on_machine


class Mount(TypedDict):
    """`device` is the number ("8:16"), `source` what was mounted."""

    device: str
    source: str
    type: str
    options: list[str]


MOUNTS = Fact(on_machine.mounts)
"""By path; `None` where nothing is mounted."""
DEVICES = Fact(on_machine.devices)
"""The number of each block device, by path; "" where there is none."""
