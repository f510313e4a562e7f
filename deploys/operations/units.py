"""systemd units."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from deploys.facts.ask import ask, forget, this_host
from deploys.facts.units import UNITS, UnitState


@operation()
def unit(name_: str, state: Literal["running", "enabled", "masked"]) -> Generator[PyinfraCommand | str, None, None]:
    """Bring a unit into a state that survives a reboot.

    + name_: the unit with its suffix
    + state: `running` (enabled and active), `enabled` (it starts where its own conditions let it) or `masked`
      (nothing can start it; one that runs is not stopped)

    A unit that is not installed is left alone when it is to be masked.
    """
    host = this_host()
    seen = ask(host, UNITS.request([name_]))[UNITS][name_]
    commands = unit_commands(name_, state, seen)
    if not commands:
        host.noop(f"{name_} is {state}")
        return
    try:
        yield from commands
    finally:
        forget(host)


def unit_commands(name: str, state: str, seen: UnitState) -> list[str]:
    """What is to be run, given the unit's state."""
    if state == "masked":
        return [] if seen["LoadState"] in ("masked", "not-found") else [f"systemctl mask {name}"]
    commands = []
    if seen["LoadState"] == "masked":
        commands.append(f"systemctl unmask {name}")
    if seen["UnitFileState"] != "enabled":
        commands.append(f"systemctl enable {name}")
    if state == "running" and seen["ActiveState"] != "active":
        commands.append(f"systemctl start {name}")
    return commands
