"""What is wrong with a lab's networks on purpose: what was asked for, on disk, and the rules that it becomes.

Kept by the machines' names, so that it outlives their power, their disks and `lab up`; it goes with the lab. The
router and each private network have one table with all of it, written by `router.py` and `private.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.place import Place
from lab.registry import locked, read_json, write_json

# the other end of a cut that is not one machine
EVERYBODY = "*"
# the host itself, as the operator's office
OPERATOR = "operator"
# marks, routing tables and priorities of the delayed ways: one number each, from here on
FIRST_MARK = 5100
# the devices of the delayed ways: slow0, slow1 ...
DEVICES = "slow"


@dataclass(frozen=True, order=True)
class Cut:
    """No packet goes from `source` to `target`; one of them may be EVERYBODY."""

    source: str
    target: str


@dataclass(frozen=True, order=True)
class Delay:
    """Between two machines each packet takes `seconds` longer each way, and a share of `loss` (0 to 1) is lost.

    `rate` is in bits a second and direction; 0 is no limit.
    """

    one: str
    other: str
    seconds: float
    loss: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True)
class End:
    """One end in one network: its port there, and the addresses that lead to it (v4 addresses, v6 prefixes)."""

    port: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Way:
    """One direction of a delayed pair in one network."""

    number: int
    source: End
    target: End

    @property
    def device(self) -> str:
        """Where its packets leave for the relay, and come back from it."""
        return f"{DEVICES}{self.number}"

    @property
    def mark(self) -> int:
        """What steers a packet there."""
        return FIRST_MARK + self.number


@dataclass(frozen=True)
class Rules:
    """What a network's table has of all this: lines of the chains `cut` and `steer`, and the delayed ways."""

    cut: tuple[str, ...] = ()
    steer: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ()

    def chains(self) -> list[str]:
        """The two chains as lines of a rule file."""
        steering = "type filter hook prerouting priority mangle; policy accept;"
        return ["chain cut {", *self.cut, "}", "chain steer {", steering, *self.steer, "}"]


def cuts(here: Place) -> list[Cut]:
    """All cuts."""
    return [Cut(*pair) for pair in read_json(_file(here)).get("cuts", [])]


def delays(here: Place) -> list[Delay]:
    """All delays. A delay's place in this list makes the numbers of its two ways."""
    return [Delay(**value) for value in read_json(_file(here)).get("delays", [])]


def write(here: Place, cuts: Iterable[Cut], delays: Iterable[Delay]) -> None:
    """Keep them, sorted: the same troubles are the same file. The caller holds `changing`."""
    value = {
        "cuts": [[cut.source, cut.target] for cut in sorted(set(cuts))],
        "delays": [asdict(delay) for delay in sorted(delays)],
    }
    write_json(_file(here), value)


def changing(here: Place) -> AbstractContextManager[None]:
    """One at a time: reading what there is, and writing what there will be."""
    return locked(here.folder / ".troubles.lock")


def rules(here: Place, ends: Mapping[str, End], services: Mapping[str, Sequence[str]] | None = None) -> Rules:
    """What the lab's troubles are in a network with these machines, by name.

    `services` are what the router itself answers for, with their addresses.
    """
    found = ways(delays(here), ends)
    return Rules(
        cut=tuple(cut_lines(cuts(here), ends, found, services or {})), steer=tuple(steer_lines(found)), ways=found
    )


def ways(delays: Sequence[Delay], ends: Mapping[str, End]) -> tuple[Way, ...]:
    """The delayed ways of a network: two for each pair whose both ends are in it."""
    return tuple(
        Way(2 * place + side, ends[source], ends[target])
        for place, delay in enumerate(delays)
        for side, (source, target) in enumerate([(delay.one, delay.other), (delay.other, delay.one)])
        if source in ends and target in ends
    )


def cut_lines(
    cuts: Sequence[Cut], ends: Mapping[str, End], ways: Sequence[Way], services: Mapping[str, Sequence[str]]
) -> list[str]:
    """The lines of the chain `cut`, which stands in front of everything, established connections too.

    A delayed packet passes twice: towards the relay, where it is caught, and from there.
    """
    lines = []
    for cut in cuts:
        for source in _matches(cut.source, ends, services, "iifname", "saddr"):
            lines += [
                f"{source} {target} drop".replace("  ", " ").strip()
                for target in _matches(cut.target, ends, services, "oifname", "daddr")
            ]
        lines += [
            f'iifname "{way.source.port}" oifname "{way.device}" drop'
            for way in ways
            if (way.source, way.target) == (ends.get(cut.source), ends.get(cut.target))
        ]
    return lines


def steer_lines(ways: Sequence[Way]) -> list[str]:
    """The lines of the chain `steer`: a packet on a delayed way gets the mark that leads to the relay."""
    lines = []
    for way in ways:
        for family, sign in (("ip", "."), ("ip6", ":")):
            addresses = [address for address in way.target.addresses if sign in address]
            if addresses:
                match = f'iifname "{way.source.port}" {family} daddr {{ {", ".join(addresses)} }}'
                lines.append(f"{match} meta mark set {way.mark}")
    return lines


def _matches(
    name: str, ends: Mapping[str, End], services: Mapping[str, Sequence[str]], device: str, address: str
) -> list[str]:
    """How a packet from (or to) this end is known; none when it is not in this network."""
    if name == EVERYBODY:
        return [""]
    if name in ends:
        return [f'{device} "{ends[name].port}"']
    # the router's own addresses: the packets that name them end or begin there
    return [f"{'ip6' if ':' in one else 'ip'} {address} {one}" for one in services.get(name, ())]


def _file(here: Place) -> Path:
    return here.folder / "troubles.json"
