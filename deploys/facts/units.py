"""systemd units."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import units as on_machine


class UnitState(TypedDict):
    """As `systemctl show` has it: "not-found", "disabled", "inactive", for example."""

    LoadState: str
    UnitFileState: str
    ActiveState: str


UNITS = Fact(on_machine.units)
"""By name."""
