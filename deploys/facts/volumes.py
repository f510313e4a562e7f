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
FSTAB = Fact(on_machine.fstab)
"""The line of /etc/fstab by path; "" where there is none."""
ROOM = Fact(on_machine.room)
"""By device how many bytes of it its ext4 file system leaves and could take now; 0 where there is none."""
DEVICES = Fact(on_machine.devices)
"""The number of each block device, by path; "" where there is none."""
