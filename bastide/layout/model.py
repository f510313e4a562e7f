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
