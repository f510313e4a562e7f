"""The drawing on the security page: who may come in, the walls, the machines, the mesh. What is not proven is drawn as
that, or not at all.

Coordinates only; templates/page/drawing.svg.j2 draws them. There is a wide one and one for phones, with text of the
same size, and the page shows the one that fits.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastide.machines import Inventory
from bastide.settings import Settings

_TOP = 178  # y of the first row of machines: below the two callers and the wall
_LINE = 24  # from one line of text to the next


@dataclass(frozen=True)
class Card:
    """One machine: its box (pixels), its words, and whether it is proven to be in the mesh."""

    x: int
    y: int
    width: int
    name: str
    lines: tuple[str, ...]
    height: int
    networked: bool = True

    @property
    def middle(self) -> int:
        """The x of its middle."""
        return self.x + self.width // 2


@dataclass(frozen=True)
class Caller:
    """Somebody who knocks: where, and what the wall does about it."""

    x: int
    name: str
    label: str
    passes: bool
    proven: bool


@dataclass(frozen=True)
class Drawing:
    """One picture. `kind` is wide or narrow; `network` is the y of the mesh's line."""

    kind: str
    width: int
    height: int
    cards: tuple[Card, ...]
    callers: tuple[Caller, ...]
    network: int
    network_label: str
    own_walls: bool
    placed: bool
    title: str

    @property
    def net(self) -> tuple[int, int] | None:
        """Where the line of the mesh begins and ends; None when fewer than two machines are in it."""
        inside = [card.middle for card in self.cards if card.networked]
        if len(inside) < 2:
            return None
        return (inside[0], inside[-1]) if self.kind == "wide" else (22, self.width - 22)

    @property
    def unsure(self) -> bool:
        """Whether something in it is not proven."""
        return not (self.placed and all(caller.proven for caller in self.callers))


def drawings(settings: Settings, inventory: Inventory, proven: set[str]) -> tuple[Drawing, Drawing]:
    """The wide and the narrow picture. What is not in `proven` (control ids) is drawn as not proven."""
    return (
        _drawing("wide", 960, 3, settings, inventory, proven),
        _drawing("narrow", 340, 1, settings, inventory, proven),
    )


def _drawing(
    kind: str, width: int, columns: int, settings: Settings, inventory: Inventory, proven: set[str]
) -> Drawing:
    margin, gap = (24, 24) if columns > 1 else (12, 14)
    columns = min(columns, len(inventory.machines))
    card_width = (width - 2 * margin - (columns - 1) * gap) // columns
    cards = []
    meshed = settings.mesh if "wireguard-01" in proven else {}
    named = any(machine.name != machine.role for machine in inventory)  # else a name says the role already
    foreign = any(machine.provider == "existing" for machine in inventory)
    height = 44 + _LINE * (1 + named + foreign)
    for index, machine in enumerate(inventory):
        row, column = divmod(index, columns)
        location = machine.place
        place = f"{location.city}, {location.country_name}"
        said = "declared" if machine.provider == "existing" else "ordered"
        more = ((machine.role,) if named else ()) + ((f"a server of {machine.hoster}",) if foreign else ())
        cards.append(
            Card(
                x=margin + column * (card_width + gap),
                y=_TOP + row * (height + 20),
                width=card_width,
                name=machine.name,
                lines=(place if "site-01" in proven else f"{said} in {location.city}; not proven", *more),
                height=height,
                networked=machine.name in meshed,
            )
        )
    network = cards[-1].y + cards[-1].height + 34
    places = {machine.place.city for machine in inventory}
    joined = {machine.place.city for machine in inventory if machine.name in meshed}
    return Drawing(
        kind=kind,
        width=width,
        height=network + 42,
        cards=tuple(cards),
        callers=_callers(width, settings, proven),
        network=network,
        network_label=f"encrypted mesh between {len(joined)} sites" if len(joined) > 1 else "",
        own_walls="firewall-03" in proven,
        placed="site-01" in proven,
        title=f"{len(inventory.machines)} servers in {len(places)} places behind a firewall, "
        f"{'joined by an encrypted mesh; ' if len(joined) > 1 else ''}strangers and operators outside",
    )


def _callers(width: int, settings: Settings, proven: set[str]) -> tuple[Caller, Caller]:
    walls = {"firewall-01", "firewall-02"} <= proven
    ports = sorted({item.port for item in settings.firewall.public})
    if settings.ssh.open_to == "anywhere":
        ports.append(settings.ssh.port)
    shown = ", ".join(str(port) for port in ports[:4]) + (" ..." if len(ports) > 4 else "")
    stranger = f"may reach {shown}" if ports else "reach no port"
    keys = "ssh with a key" if "ssh-01" in proven else "ssh; not proven"
    return (
        Caller(width // 4, "Strangers", stranger if walls else "not proven", bool(ports), walls),
        Caller(width - width // 4, "Operators", keys, True, "ssh-01" in proven),
    )
