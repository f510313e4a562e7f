"""What a capability's layout may say besides names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OpenPort:
    """One port that a capability opens. `reach`: everybody, or only who is in the mesh (settings.wireguard)."""

    capability: str
    port: int
    protocol: Literal["tcp", "udp"]
    reach: Literal["anywhere", "mesh"]
    reason: str


@dataclass(frozen=True)
class Listener:
    """A port that one of our units listens on, and for whom. Whoever else listens there is in the way.

    `units`: ours, of which each may hold it. `move`: how the platform could take another port; "" where it cannot.
    """

    port: int
    protocol: Literal["tcp", "udp"]
    units: tuple[str, ...]
    what: str
    move: str = ""
