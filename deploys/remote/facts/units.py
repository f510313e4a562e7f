"""Runs on the machine: systemd units."""

from __future__ import annotations

from deploys.remote.facts.common import output, properties

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.units import UnitState


def units(names: list[str]) -> dict[str, UnitState]:
    """Load, unit file and active state of systemd units."""
    shown = output("systemctl", "show", "-p", "Id,LoadState,UnitFileState,ActiveState", "--", *names)
    # an alias answers with another Id: the order is that of the names
    return {name: _state(text) for name, text in zip(names, shown.strip().split("\n\n"), strict=False)}


def _state(text: str) -> UnitState:
    told = properties(text)
    return {
        "LoadState": told.get("LoadState", ""),
        "UnitFileState": told.get("UnitFileState", ""),
        "ActiveState": told.get("ActiveState", ""),
    }
