"""How the servers talk to each other."""

from __future__ import annotations

from bastide.controls.model import Control, count, mesh, mesh_of_several
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "wireguard-01",
        "Traffic between the servers",
        "What a server sends to another one's address in the mesh leaves it encrypted, by WireGuard.",
        "Neither a provider nor anybody else on the way can read or change what the servers tell each other.",
        claims=(13,),
        needs=mesh_of_several,
    ),
    Control(
        "wireguard-02",
        "Who is in the mesh",
        "{members} are in the mesh and nobody else; each has one address, and cannot send as another one.",
        "Whoever is in there is known, and who left is out.",
        claims=(13, 38, 43),
        needs=mesh,
    ),
    Control(
        "wireguard-03",
        "What the mesh shows of itself",
        "Whoever holds no key of the mesh gets no answer from it, and a server in it reaches no undeclared port.",
        "A way in that does not answer cannot be tried; and the next server does not trust one that was broken into.",
        claims=(13, 38),
        needs=mesh,
    ),
    Control(
        "wireguard-04",
        "Reach of the mesh",
        "Every server reaches every other one over the mesh.",
        "What must not travel in the open has no reason to.",
        claims=(13,),
        needs=mesh_of_several,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with. Without a mesh nothing is proven, and the sentences are not printed."""
    devices = len(settings.wireguard.administrators) if settings.wireguard else 0
    return {"members": f"{count(len(settings.mesh), 'server')} and {count(devices, 'device')} of administrators"}
