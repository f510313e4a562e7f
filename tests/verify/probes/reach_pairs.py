"""What every machine reaches of every other one: fresh listeners, what listens there, and a port where nothing does."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from bastide.machines import Machine
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.listed import listed
from tests.verify.probes.reach import listeners, listening
from tests.verify.probes.scripts import script
from tests.verify.probes.world import NotSeen, World

# Listens as nobody, on one port of the kernel's choice, for both protocols and both families, and answers, for a few
# seconds. It proves to itself that it can be reached: a dead listener would look like a good firewall.
_LISTENER = """
import os, select, signal, socket, sys
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
tcp = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True); port = tcp.getsockname()[1]
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(("::", port))
for own in ("127.0.0.1", "::1"): socket.create_connection((own, port), 2).close()
if os.fork():
    print(port); sys.exit()
os.setsid(); os.chdir("/"); null = os.open("/dev/null", os.O_RDWR)
for one in range(3): os.dup2(null, one)
signal.alarm(15)
while True:
    data, who = udp.recvfrom(64); udp.sendto(data, who)
"""
PRIVATE = "in the private network"
_once = Once()

_listener = listed("pair listener", f"python3 -I -c {quote(_LISTENER)}")
_knocks = listed("pair knocks", lambda world, machine: script(_targets(world, machine), "knocks"))


@dataclass(frozen=True)
class Knocks:
    """What one machine saw of another one by one way ("in the private network", "over IPv6").

    `source` is the address that it is seen as there, "" where that is not known; `fresh` the port of the listener that
    was started for it; `ports` maps "tcp-22" to "open", "closed" or "filtered".
    """

    sibling: str
    way: str
    source: str
    fresh: int
    ping: bool
    ports: dict[str, str]


@probe(asks=(listeners,))
def pairs(world: World, machine: Machine) -> tuple[str, list[Knocks]]:
    """What every other machine reaches of this one; all machines are knocked at side by side, once a run."""
    found: list[tuple[str, Knocks]] = _once(world.stack, lambda: _all(world))
    shown = f"(each other server)# connect to {machine.name}: TCP, UDP, IPv4 and IPv6, one a fresh listener"
    return shown, [knocks for name, knocks in found if name == machine.name]


def _all(world: World) -> list[tuple[str, Knocks]]:
    machines = [one for one in world.inventory if one.name not in world.silent]
    with ThreadPoolExecutor(len(machines) or 1) as pool:
        fresh = dict(zip(machines, pool.map(lambda one: _listening(world, one), machines), strict=True))
        words = [
            f"{one.name}:{kind}:{port}"
            for one in machines
            for kind, ports in _ports(world, one, fresh[one]).items()
            for port in sorted(ports)
        ]
        found = list(pool.map(lambda one: _from(world, one, words), machines))
    ports = {one.name: port for one, port in fresh.items()}
    return [(name, replace(knocks, fresh=ports[name])) for pairs_ in found for name, knocks in pairs_ if name in ports]


def _listening(world: World, machine: Machine) -> int:
    """The port of a listener that was started on a machine."""
    done = _listener.run(world, machine)
    if not done.text.isdigit():
        raise NotSeen(f"{machine.name} cannot listen for its neighbours", "is python3 installed there?")
    return int(done.text)


def _ports(world: World, machine: Machine, fresh: int) -> dict[str, set[int]]:
    """The fresh listener, whatever listens there, and a port of UDP where nothing does."""
    there = listening(world, machine)
    return {"tcp": {fresh, *there["tcp"]}, "udp": {fresh, *there["udp"], secrets.randbelow(10_000) + 20_000}}


def _from(world: World, sibling: Machine, words: list[str]) -> list[tuple[str, Knocks]]:
    """All knocks of one machine, in one round trip: the name of who was knocked at, and what became of it."""
    targets = _targets(world, sibling)
    if not targets:
        return []
    done = _knocks.run(world, sibling, *words)
    try:
        answer = json.loads(done.text)
    except ValueError:
        raise NotSeen(f"{sibling.name} could not knock at the others", "is python3 installed there?") from None
    return [
        (
            one["name"],
            Knocks(sibling.name, one["way"], one["source"], 0, answer[number]["ping"], answer[number]["ports"]),
        )
        for number, one in targets.items()
    ]


def _targets(world: World, sibling: Machine) -> dict[str, Any]:
    """How a machine comes to every other one, numbered: who it is, the way, its address, and what the machine is seen
    as there."""
    found = []
    for one in world.inventory:
        if one.name == sibling.name:
            continue
        private = bool(one.private_address and sibling.private_address)
        way = PRIVATE if private else "at its public address"
        found.append((one.name, way, one.address_for(sibling), sibling.address_for(one)))
        if one.address6 and sibling.address6:
            found.append((one.name, "over IPv6", one.address6, sibling.address6))
    keys = ("name", "way", "address", "source")
    return {f"{number}": dict(zip(keys, values, strict=True)) for number, values in enumerate(found)}
