"""The mesh as a machine has it, what really crosses the wire, and what strangers and neighbours get out of it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from shlex import quote
from typing import Any

from bastide.layout.wireguard import FOLDER, INTERFACE, UNIT
from bastide.machines import Machine
from tests.verify.probes.batch import ask, command
from tests.verify.probes.engine import probe
from tests.verify.probes.listed import listed
from tests.verify.probes.reach import Knock, knocked, listeners, listening
from tests.verify.probes.systemd import show
from tests.verify.probes.world import NotSeen, World, declared

# Public keys and what each may send as; who can read the files with the private one. Where a person's device is stays
# there: evidence is for everybody.
_STATE = f"""
import grp, json, os, pwd, subprocess
def shown(word):
    done = subprocess.run(["wg", "show", "{INTERFACE}", word], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
files = {{}}
for folder, _, names in os.walk("{FOLDER}"):
    for path in [folder, *(os.path.join(folder, name) for name in names)]:
        info = os.stat(path)
        owners = (pwd.getpwuid(info.st_uid).pw_name, grp.getgrgid(info.st_gid).gr_name)
        files[path] = [oct(info.st_mode & 0o777), *owners]
kept, stripped = {{}}, subprocess.run(["wg-quick", "strip", "{INTERFACE}"], capture_output=True, text=True).stdout
for part in stripped.split("[Peer]")[1:]:
    told = dict((w.strip() for w in line.split("=", 1)) for line in part.splitlines() if "=" in line)
    kept[told.get("PublicKey", "")] = sorted(told.get("AllowedIPs", "").replace(",", " ").split())
peers = dict(line.split("\\t", 1) for line in shown("allowed-ips").splitlines())
program = subprocess.run(["pgrep", "-x", "wireguard-go"], capture_output=True).returncode == 0
print(json.dumps({{"key": shown("public-key"), "files": files, "kernel": not program, "kept": kept,
    "peers": {{key: sorted(text.split()) for key, text in peers.items()}}}}))
"""
# To each address: a datagram with a word of its own, and a ping. What then passes by on all interfaces is looked at: in
# the tunnel the word itself, outside of it the word again, or a packet of WireGuard's type 4 (data) to the peer.
_CROSSING = f"""
import json, socket, subprocess, sys, time
word, targets = sys.argv[1].encode(), sys.argv[2:]
def shown(key):
    done = subprocess.run(["wg", "show", "{INTERFACE}", key], capture_output=True, text=True)
    return dict(line.split("\\t", 1) for line in done.stdout.splitlines())
allowed = {{key: text.split() for key, text in shown("allowed-ips").items()}}
ends = {{a.split("/")[0]: end for key, end in shown("endpoints").items() for a in allowed.get(key, [])}}
tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
tap.settimeout(0.1)
tunnel, plain, sealed = set(), set(), set()
pings = {{t: subprocess.Popen(["ping", "-n", "-q", "-c", "3", "-i", "0.3", "-W", "3", t], stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL) for t in targets}}
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for t in targets:
    try: out.sendto(word + t.encode() + b".", (t, 9))
    except OSError: pass
end = time.monotonic() + 4; last = None
while time.monotonic() < (last or end):
    done = all(p.poll() is not None for p in pings.values())
    if done and not last: last = time.monotonic() + 0.4
    try: data, place = tap.recvfrom(65535)
    except TimeoutError: continue
    if word in data:
        t = data.split(word, 1)[1].split(b".")[:4]; t = b".".join(t).decode(errors="replace")
        tunnel.add(t) if place[0] == "{INTERFACE}" else plain.add((t, place[0]))
    elif place[0] != "{INTERFACE}" and len(data) > 28 and data[0] >> 4 == 4 and data[9] == 17:
        body = (data[0] & 15) * 4
        port = int.from_bytes(data[body + 2:body + 4], "big")
        if data[body + 8:body + 12] == b"\\x04\\0\\0\\0":
            sealed.add(f"{{socket.inet_ntoa(data[16:20])}}:{{port}}")
times = shown("latest-handshakes"); now = time.time()
ages = {{a.split("/")[0]: now - int(times.get(key) or 0) for key in allowed for a in allowed[key]}}
print(json.dumps({{"tunnel": sorted(tunnel), "plain": sorted(plain),
    "sealed": [t for t in targets if ends.get(t) in sealed],
    "answers": [t for t, p in pings.items() if p.poll() == 0], "ages": ages}}))
"""
# What a stranger may try: noise, and a first message as the protocol has it, with the right sum over the public key
# (wireguard.com/papers/wireguard.pdf, 5.4.4). Prints how many answers of any kind came.
_STRANGER = """
import hashlib, json, os, socket, sys, base64
address, port, key = sys.argv[1], int(sys.argv[2]), base64.b64decode(sys.argv[3])
first = bytes([1, 0, 0, 0]) + os.urandom(112)
sum_key = hashlib.blake2s(b"mac1----" + key).digest()
first += hashlib.blake2s(first, key=sum_key, digest_size=16).digest() + bytes(16)
line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(1.5); line.connect((address, port)); answers = []
for text in (b"hello", os.urandom(148), first):
    try: line.send(text)
    except OSError as error: answers.append(error.strerror)
try: answers.append(f"{len(line.recv(2048))} bytes")
except TimeoutError: pass
except OSError as error: answers.append(error.strerror)
print(json.dumps(answers))
"""


members = command(
    "mesh",
    f"python3 -I -c {quote(_STATE)}",
    shows=f"wg show {INTERFACE} (public keys and allowed addresses); ls -l {FOLDER}",
)

unit = command("meshunit", show(UNIT))

messages = listed(
    "messages in the mesh",
    lambda world, machine: f'python3 -I -c {quote(_CROSSING)} "$1" {" ".join(_others(world, machine))}',
)


@dataclass(frozen=True)
class Roster:
    """A machine's own account of the mesh, and the keys that the others say they have ("" where one said nothing)."""

    own: dict[str, Any]
    keys: dict[str, str]


@dataclass(frozen=True)
class Strange:
    """What a stranger's messages brought, by address, and whether the address answers a ping at all."""

    answers: dict[str, list[str]]
    alive: dict[str, bool]


def state(world: World, machine: Machine) -> dict[str, Any]:
    """What a machine says of its part of the mesh, out of the one batch."""
    try:
        found: dict[str, Any] = json.loads(ask(world, machine, members).text)
    except ValueError:
        raise NotSeen(f"{machine.name} does not say what its mesh is like", "is wireguard-tools installed?") from None
    return found


@probe(asks=(members,))
def roster(world: World, machine: Machine) -> tuple[str, Roster]:
    """The peers that a machine has, beside what the peers say of themselves."""
    keys = {}
    for other in world.inventory:
        try:
            keys[other.name] = str(state(world, other)["key"])
        except NotSeen:
            keys[other.name] = ""
    return f"# wg show {INTERFACE} (here and on every other server); ls -l {FOLDER}", Roster(
        state(world, machine), keys
    )


@probe()
def crossing(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """What leaves a machine that sends a message to every other one's address in the mesh."""
    targets = _others(world, machine)
    shown = f"# tcpdump -i any, while a message and a ping go to {', '.join(targets)}; wg show {INTERFACE}"
    done = messages.run(world, machine, secrets.token_hex(12))
    try:
        return shown, json.loads(done.text)
    except ValueError:
        raise NotSeen(f"{machine.name} could not look at its packets", "are python3, ping and wg there?") from None


@probe(active=True, asks=(members,))
def strange(world: World, machine: Machine) -> tuple[str, Strange]:
    """A stranger who knows the machine's public key speaks to its port, over IPv4 and IPv6."""
    prober, wanted = world.inventory.prober, declared(world.settings.wireguard)
    if prober is None:
        return "# no prober", Strange({}, {})
    key = state(world, machine)["key"] or "AA=="
    found = {}
    for address in filter(None, (machine.address, machine.address6)):
        knock = f"python3 -I -c {quote(_STRANGER)} {address} {wanted.port} {key}"
        found[address] = world.batch(
            prober.name, {"knock": knock, "ping": f"ping -n -q -c 1 -W 2 {address} >/dev/null && echo yes"}
        )
    try:
        answers = {address: list(json.loads(done["knock"].text)) for address, done in found.items()}
    except ValueError:
        raise NotSeen(f"{prober.name} could not speak to UDP {wanted.port}", "is python3 there?") from None
    alive = {address: done["ping"].text == "yes" for address, done in found.items()}
    shown = f"{prober.name}# noise and a handshake of a key that nobody knows, to UDP {wanted.port} of {machine.name}"
    return shown, Strange(answers, alive)


@probe(asks=(listeners,))
def over_mesh(world: World, machine: Machine) -> tuple[str, Knock | None]:
    """What another server reaches at a machine's address in the mesh: a fresh listener, and all that listens."""
    address = world.settings.mesh.get(machine.name)
    sibling = next(
        (one for one in world.inventory if one.name != machine.name and one.name in world.settings.mesh), None
    )
    if address is None or sibling is None:
        return "# no mesh", None
    return knocked(world, machine, sibling, address, "in the mesh", listening(world, machine)["tcp"])


def _others(world: World, machine: Machine) -> list[str]:
    """The other machines' addresses in the mesh."""
    return [address for name, address in world.settings.mesh.items() if name != machine.name]
