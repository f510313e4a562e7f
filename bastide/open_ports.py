"""Which ports are open: the one list that both firewalls, and their checks, are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bastide.capabilities import parts
from bastide.layout.model import Listener, OpenPort
from bastide.settings import Settings


def opened(settings: Settings) -> tuple[OpenPort, ...]:
    """What capabilities open by themselves in one stack: those whose layout has a function `open_ports`."""
    found: list[OpenPort] = []
    for module in parts("bastide.layout").values():
        ports: Callable[[Settings], Iterator[OpenPort]] | None = getattr(module, "open_ports", None)
        found += ports(settings) if ports else ()
    return tuple(found)


def listeners(settings: Settings, machine: str) -> tuple[Listener, ...]:
    """The ports that the platform needs on one machine: those of layouts that have a function `listeners`."""
    found: list[Listener] = []
    for module in parts("bastide.layout").values():
        needed: Callable[[Settings, str], Iterator[Listener]] | None = getattr(module, "listeners", None)
        found += needed(settings, machine) if needed else ()
    return tuple(found)


def taken_whole() -> dict[str, str]:
    """Units of packages whose one file of settings is ours, with its path: the tables `TAKEN_WHOLE` of the layouts."""
    return {
        unit: path for one in parts("bastide.layout").values() for unit, path in getattr(one, "TAKEN_WHOLE", {}).items()
    }


def open_ports(settings: Settings, *, in_mesh: bool = False) -> set[tuple[str, int]]:
    """What everybody may reach, as (protocol, port), named by the settings or opened by a capability; `in_mesh`: what
    who is in the mesh may. ssh is not among it: that is open to some."""
    reach = ("anywhere", "mesh") if in_mesh else ("anywhere",)
    named = {(str(port.protocol), port.port) for port in settings.firewall.public}
    return named | {(str(one.protocol), one.port) for one in opened(settings) if one.reach in reach}
