"""How the servers talk to each other: what crosses the wire, who is in the mesh, and what it answers to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.wireguard import INTERFACE, UNIT
from bastide.machines import Inventory, Machine
from bastide.mesh import Mesh, mesh_of
from bastide.open_ports import open_ports
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import cluster, firewall, nft, wireguard
from tests.verify.probes.systemd import boots, told_besides, units
from tests.verify.probes.wireguard import Roster, Strange
from tests.verify.probes.world import Observation, declared

_REJECT_AFTER_SECONDS = 180  # no session is older (wireguard.com/papers/wireguard.pdf, 6.1)


def _others(mesh: Mesh, machine: Machine) -> dict[str, str]:
    return {name: address for name, address in mesh.machines.items() if name != machine.name}


@pytest.mark.control("wireguard-01")
@pytest.mark.probe(wireguard.crossing)
def test_nothing_leaves_in_the_open(
    observation: Observation, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    """A message to each other server goes into the tunnel, and comes out of no other interface but encrypted."""
    others, seen = _others(declared(mesh_of(settings)), machine), observation.data
    names = {address: name for name, address in others.items()}
    open_ = sorted({f"{names.get(address, address)} ({interface})" for address, interface in seen["plain"]})
    wrong = [f"a message leaves in the open: to {', '.join(open_)}"] if open_ else []
    for name, address in others.items():
        if address not in seen["tunnel"]:
            wrong.append(f"no message to {name} goes into the tunnel")
        if address not in seen["sealed"]:
            wrong.append(f"no encrypted packet goes to {name}")
    judge(wrong)
    note(f"a message to {', '.join(others)}: read in {INTERFACE} only; WireGuard's packets outside")


@pytest.mark.control("wireguard-02")
@pytest.mark.probe(wireguard.roster)
def test_only_the_declared_are_in_the_mesh(
    observation: Observation, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    """The peers of each server are the other servers and the declared devices, each with its own key and address."""
    mesh = declared(mesh_of(settings))
    seen: Roster = observation.data
    members = {**_others(mesh, machine), **mesh.administrators}
    owners = {f"{address}/32": name for name, address in members.items()}
    by_address: dict[str, str] = {}
    wrong = []
    for key, allowed in seen.own["peers"].items():
        if len(allowed) != 1:
            wrong.append(f"a peer may send as {', '.join(allowed) or 'nobody'}")
        wrong += [f"a peer that nobody declared may send as {word}" for word in allowed if word not in owners]
        by_address |= dict.fromkeys(allowed, key)
    if missing := sorted(owners[word] for word in set(owners) - set(by_address)):
        wrong.append(f"not in the mesh: {', '.join(missing)}")
    for word, name in owners.items():
        device = settings.wireguard.administrators.get(name) if settings.wireguard else None
        own = device.key if device and device.address == members[name] else seen.keys.get(name, "")
        if own and by_address.get(word, own) != own:
            wrong.append(f"{name} is known by another key than its own")
    for key in sorted({*seen.own["kept"], *seen.own["peers"]}):
        kept, now = seen.own["kept"].get(key), seen.own["peers"].get(key)
        if kept != now:
            will = f"may send as {', '.join(kept)}" if kept else "is out"
            wrong.append(f"after a restart a peer {will}, which now {'may not' if not now else 'is otherwise'}")
    judge(wrong)
    note(f"{count(len(seen.own['peers']), 'peer')}, one address each")


@pytest.mark.control("wireguard-04")
@pytest.mark.probe(wireguard.unit)
def test_the_mesh_comes_with_the_next_start(observation: Observation, note: Callable[[str], None]) -> None:
    """The unit that makes it is active and enabled, and nothing tells it otherwise."""
    unit = units(observation.data)[UNIT]
    judge([*boots(unit), *told_besides(unit)])
    note(f"{UNIT} is enabled")


@pytest.mark.control("wireguard-02")
@pytest.mark.probe(wireguard.roster)
def test_private_keys_are_roots_alone(observation: Observation, note: Callable[[str], None]) -> None:
    """Nobody but root can read a server's private key, or write where it lies."""
    files: dict[str, list[str]] = observation.data.own["files"]
    assert files, "there is no file with its key"
    judge(
        text
        for path, (mode, owner, _) in files.items()
        for text, wrong in (
            (f"{path} belongs to {owner}", owner != "root"),
            (f"others can read {path} ({mode})", int(mode, 8) & 0o077),
        )
        if wrong
    )
    note(", ".join(f"{path} {mode}" for path, (mode, _, _) in files.items()))


@pytest.mark.control("wireguard-03")
@pytest.mark.active
@pytest.mark.probe(wireguard.strange)
def test_strangers_get_no_answer(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """Noise, and a first message of a key that nobody knows, bring no packet back."""
    mesh = declared(mesh_of(settings))
    seen: Strange = observation.data
    wrong = [] if all(seen.alive.values()) else ["it does not answer a ping from the prober: silence proves nothing"]
    wrong += [
        f"a stranger gets an answer from UDP {mesh.port}: {address}: {', '.join(said)}"
        for address, said in sorted(seen.answers.items())
        if said
    ]
    judge(wrong)
    note(f"UDP {mesh.port}: no answer over {'IPv4 and IPv6' if len(seen.answers) > 1 else 'IPv4'}")


@pytest.mark.control("wireguard-03")
@pytest.mark.probe(wireguard.over_mesh)
def test_the_mesh_opens_no_undeclared_port(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """A server in the mesh reaches no fresh listener of another one there, and no port that is not declared."""
    if cluster.nobody_else(settings, note):
        return
    knock = observation.data
    assert knock is not None, "there is nobody to knock"
    wrong = [] if knock.ping else ["it does not answer a ping over the mesh: silence proves nothing"]
    allowed = {port for kind, port in open_ports(settings, in_mesh=True) if kind == "tcp"}
    if settings.ssh.open_to == "anywhere":
        allowed.add(settings.ssh.port)
    reached = sorted(port for port, state in knock.ports.items() if state != "filtered" and port not in allowed)
    named = [f"{port}{' (a fresh listener)' if port == knock.fresh else ''}" for port in reached]
    if named:
        wrong.append(f"a server in the mesh gets through to {', '.join(named)}")
    judge(wrong)
    note(f"{len(knock.ports)} ports tried over the mesh, reached: none that is not declared")


@pytest.mark.control("wireguard-03")
@pytest.mark.probe(firewall.rules)
def test_nobody_outside_takes_an_address_of_the_mesh(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """The rules in force drop what comes from an address of the mesh and did not come out of the tunnel."""
    mesh = declared(mesh_of(settings))
    rules = nft.parse(observation.data.text)
    assert nft.drops_forged(rules, mesh.range, INTERFACE), (
        f"a packet with an address of the mesh is taken from outside of {INTERFACE}"
    )
    note(f"{mesh.range} is dropped on every other interface")


@pytest.mark.control("wireguard-04")
@pytest.mark.probe(wireguard.crossing)
def test_every_server_answers_over_the_mesh(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """Each other server answers a ping at its address in the mesh, in a session of the last minutes."""
    others: dict[str, str] = _others(declared(mesh_of(settings)), machine)
    seen: dict[str, Any] = observation.data
    silent = sorted(name for name, address in others.items() if address not in seen["answers"])
    wrong = [f"no answer over the mesh from {', '.join(silent)}"] if silent else []
    wrong += [
        f"the answer of {name} came another way"
        for name, address in others.items()
        if name not in silent and seen["ages"].get(address, 1e9) > _REJECT_AFTER_SECONDS
    ]
    judge(wrong)
    note(f"{', '.join(others)} answered; the oldest handshake {max(map(seen['ages'].get, others.values())):.0f} s ago")
