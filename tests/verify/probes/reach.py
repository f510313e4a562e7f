"""Which ports of a machine can be reached: what listens there, and what becomes of a neighbour's knocks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote

from bastide.machines import Machine
from tests.verify.probes.batch import ask, command
from tests.verify.probes.world import NotSeen, World

# Listens on a port of the kernel's choice at the given address until its input ends, at most 8 seconds, and proves
# to itself that it can be reached: a dead listener would look like a good firewall.
_LISTENER = """
import socket, sys, select
s = socket.create_server((sys.argv[1], 0)); p = s.getsockname()[1]
socket.create_connection((sys.argv[1], p), 2).close(); print(p, flush=True)
select.select([sys.stdin], [], [], 8)
"""
# Tries all ports at once; says what became of each, and whether the address answers a ping at all.
_KNOCKER = """
import json, socket, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
def knock(port):
    try:
        socket.create_connection((sys.argv[1], port), 1.5).close(); return "open"
    except ConnectionRefusedError: return "closed"
    except OSError: return "filtered"
ports = [int(p) for p in sys.argv[2:]]
with ThreadPoolExecutor(16) as pool: states = dict(zip(ports, pool.map(knock, ports)))
ping = subprocess.run(["ping", "-n", "-q", "-c", "1", "-W", "2", sys.argv[1]], capture_output=True).returncode == 0
print(json.dumps({"ports": states, "ping": ping}))
"""

listeners = command("listeners", "ss -Hltun")


@dataclass(frozen=True)
class Knock:
    """What a neighbour saw: `fresh` is the port of the listener that was started for it."""

    fresh: int
    ping: bool
    ports: dict[int, str]


def knocked(
    world: World, machine: Machine, sibling: Machine, address: str, way: str, open_: set[int]
) -> tuple[str, Knock]:
    """A sibling's knocks at an address of the machine: at a fresh listener, and at these ports."""
    with _listener(world, machine, address) as fresh:
        ports = [fresh, *sorted(open_)]
        # as root only for ping, which an ordinary account may not use everywhere
        done = world.as_root(sibling.name, knocker(address, ports))
    try:
        answer = json.loads(done.text)
    except ValueError:
        raise NotSeen(f"{sibling.name} could not knock at {machine.name}", "is python3 installed there?") from None
    states = {int(port): state for port, state in answer["ports"].items()}
    shown = f"{sibling.name}# connect to {machine.name} {way}, {len(ports)} ports, one a fresh listener"
    return shown, Knock(fresh, bool(answer["ping"]), states)


def knocker(address: str, ports: Iterable[int]) -> str:
    """The shell command that knocks at these ports of an address, and prints JSON."""
    return f"python3 -I -c {quote(_KNOCKER)} {address} {' '.join(map(str, ports))}"


def listening(world: World, machine: Machine) -> dict[str, set[int]]:
    """The ports that something listens on, other than on loopback: {"tcp": {22}, "udp": {68}}."""
    found: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for line in ask(world, machine, listeners).text.splitlines():
        kind, _, _, _, local = line.split()[:5]
        address, _, port = local.rpartition(":")
        if kind in found and not address.strip("[]").startswith(("127.", "::1")):
            found[kind].add(int(port))
    return found


@contextmanager
def _listener(world: World, machine: Machine, address: str) -> Iterator[int]:
    """A listener on an address of the machine for as long as the block lasts (at most 8 s). Yields its port."""
    words = ["ssh", "-F", str(world.ssh_config), machine.name]
    words.append(f"python3 -c {quote(_LISTENER)} {address}")
    # not console.run: the listener has to live while somebody else knocks
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            line = process.stdout.readline().strip() if process.stdout else b""
            if not line:
                raise NotSeen(f"{machine.name} cannot listen at {address}", "is that address its own, not a router's?")
            yield int(line)
        finally:
            process.terminate()
