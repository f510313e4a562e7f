"""The catalogue of controls: every sentence the security page may say, and for how long a proof of it counts.

A module a capability, with its `CONTROLS` and the `facts` that fill their `{placeholders}`. Ids are stable and never
reused. A sentence holds no adjective that is not a number or a fact of the stack file. tests/verify proves a control
(marker `control`), tests/rehearsal breaks it. `claims` are row numbers of the project's list of claims that published
security pages make.
"""

from __future__ import annotations

from bastide.controls import (
    base,
    dns,
    etcd,
    fail2ban,
    firewall,
    postgres,
    site,
    ssh,
    storage,
    updates,
    users,
    wireguard,
)
from bastide.controls.model import Control, count, join
from bastide.errors import EvidenceError
from bastide.machines import Inventory
from bastide.settings import Settings

__all__ = ["CAPABILITIES", "CONTROLS", "Control", "control", "count", "facts", "join"]

CAPABILITIES = {
    "site": "Where the servers stand",
    "users": "Who can log in",
    "ssh": "How they log in",
    "firewall": "What can be reached",
    "fail2ban": "Who is turned away",
    "wireguard": "How the servers talk to each other",
    "etcd": "Who decides which database leads",
    "postgres": "How the databases are kept",
    "dns": "Which names lead here",
    "updates": "How the machines are kept up to date",
    "base": "How the machines are kept",
    "storage": "What is kept outside of them",
}
"""The words, in the order of the page, with the heading of each."""

_MODULES = (site, users, ssh, firewall, fail2ban, wireguard, etcd, postgres, dns, updates, base, storage)
CONTROLS: tuple[Control, ...] = tuple(one for module in _MODULES for one in module.CONTROLS)

_BY_ID = {one.id: one for one in CONTROLS}


def control(control_id: str) -> Control:
    """The control with this id. Raises `EvidenceError` when there is none."""
    if control_id not in _BY_ID:
        raise EvidenceError(f"there is no control {control_id}", f"known are {', '.join(_BY_ID)}")
    return _BY_ID[control_id]


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """The values that sentences are filled with, all from what is declared and what exists."""
    values: dict[str, str] = {}
    for module in _MODULES:
        values |= module.facts(settings, inventory)
    return values
