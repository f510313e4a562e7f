"""Which ports of a machine can be reached: what listens there, and what becomes of a neighbour's knocks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from shlex import quote

from bastide.machines import Machine
from tests.verify.probes.batch import ask, command
from tests.verify.probes.listed import listed
from tests.verify.probes.world import NotSeen, World

# Listens as nobody on a port of the kernel's choice at the given address for a few seconds, and proves to itself that
# it can be reached: a dead listener would look like a good firewall.
_LISTENER = """
import os, signal, socket, sys
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
s = socket.create_server((sys.argv[1], 0)); p = s.getsockname()[1]
socket.create_connection((sys.argv[1], p), 2).close()
if os.fork():
    print(p); sys.exit()
os.setsid(); os.chdir("/"); null = os.open("/dev/null", os.O_RDWR)
for one in range(3): os.dup2(null, one)
signal.alarm(10); signal.pause()
"""
# Tries all ports at once; says what became of each, and whether the address answers a ping at all. Only addresses of
# the stack: whoever may run this must not look around elsewhere with it.
_KNOCKER = """
import json, socket, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
if sys.argv[1] not in ADDRESSES: sys.exit("not an address of the stack")
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
listener = listed("listener", f'python3 -I -c {quote(_LISTENER)} "$1"')
knock = listed(
    "knock",
    lambda world, machine: f'python3 -I -c {quote(f"ADDRESSES = {_addresses(world)!r}{_KNOCKER}")} "$@"',
)


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
    fresh = _listening(world, machine, address)
    ports = [fresh, *sorted(open_)]
    done = knock.run(world, sibling, address, *ports)
    try:
        answer = json.loads(done.text)
    except ValueError:
        raise NotSeen(f"{sibling.name} could not knock at {machine.name}", "is python3 installed there?") from None
    states = {int(port): state for port, state in answer["ports"].items()}
    shown = f"{sibling.name}# connect to {machine.name} {way}, {len(ports)} ports, one a fresh listener"
    return shown, Knock(fresh, bool(answer["ping"]), states)


def listening(world: World, machine: Machine) -> dict[str, set[int]]:
    """The ports that something listens on, other than on loopback: {"tcp": {22}, "udp": {68}}."""
    found: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for line in ask(world, machine, listeners).text.splitlines():
        kind, _, _, _, local = line.split()[:5]
        address, _, port = local.rpartition(":")
        if kind in found and not address.strip("[]").startswith(("127.", "::1")):
            found[kind].add(int(port))
    return found


def _listening(world: World, machine: Machine, address: str) -> int:
    """The port of a listener on an address of the machine, which ends by itself (after 10 s)."""
    done = listener.run(world, machine, address)
    if done.code or not done.text.isdigit():
        raise NotSeen(f"{machine.name} cannot listen at {address}", "is that address its own, not a router's?")
    return int(done.text)


def _addresses(world: World) -> list[str]:
    """All that machines of the stack have."""
    found = {one for machine in world.inventory for one in (machine.address, machine.address6, machine.private_address)}
    return sorted(found.union(world.settings.mesh.values()) - {""})
