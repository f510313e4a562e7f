"""The catalogue of controls: every sentence the security page may say, and for how long a proof of it counts.

A module a capability, with its `CONTROLS` and the `facts` that fill their `{placeholders}`. Ids are stable and never
reused. A sentence holds no adjective that is not a number or a fact of the stack file. tests/verify proves a control
(marker `control`), tests/rehearsal breaks it. `claims` are row numbers of the project's list of claims that published
security pages make.
"""

from __future__ import annotations

from bastide.capabilities import parts
from bastide.controls.model import Control, count, join
from bastide.errors import EvidenceError
from bastide.machines import Inventory
from bastide.settings import Settings

__all__ = ["CONTROLS", "Control", "control", "count", "facts", "join"]

CONTROLS: tuple[Control, ...] = tuple(one for module in parts(__name__).values() for one in module.CONTROLS)
"""In the order of the page."""

_BY_ID = {one.id: one for one in CONTROLS}


def control(control_id: str) -> Control:
    """The control with this id. Raises `EvidenceError` when there is none."""
    if control_id not in _BY_ID:
        raise EvidenceError(f"there is no control {control_id}", f"known are {', '.join(_BY_ID)}")
    return _BY_ID[control_id]


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """The values that sentences are filled with, all from what is declared and what exists."""
    values: dict[str, str] = {}
    for module in parts(__name__).values():
        values |= module.facts(settings, inventory)
    return values
