"""What one machine of the mesh goes through, in step with all others: from what they say to what is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from bastide.errors import BastideError
from bastide.layout.wireguard import CONFIG, INTERFACE
from bastide.machines import Machine
from bastide.mesh import Mesh, MeshKey, machine_key, machine_keys
from bastide.secrets import Keyring
from bastide.settings.wireguard import Administrator
from deploys.facts.fact import Facts
from deploys.facts.files import FILES
from deploys.facts.wireguard import WIREGUARD
from deploys.operations.files import File, as_wanted
from deploys.render import render

# WireGuard's own part of a packet over IPv6, the larger one (wireguard.com/papers/wireguard.pdf, 5.4.6)
_OVERHEAD = 80
# RFC 8200: the least that every link carries; and what fits the internet's usual 1500
_SIZES = (1280, 1420)


@dataclass(frozen=True)
class Wanted:
    """The mesh, or none; the machine and all of them; the keys; the devices of administrators by name.

    `order`: in which machines get a new key; `only_way_in`: whether nobody comes in but over the mesh; `votes`: whether
    this machine's etcd member does.
    """

    mesh: Mesh | None
    machine: Machine
    machines: tuple[Machine, ...]
    keyring: Keyring
    administrators: Mapping[str, Administrator]
    order: tuple[str, ...]
    only_way_in: bool
    votes: bool

    @property
    def others(self) -> tuple[Machine, ...]:
        """All machines but this one."""
        return tuple(machine for machine in self.machines if machine.name != self.machine.name)


@dataclass(frozen=True)
class Step:
    """The interface of one machine at one stage. `drift`: why to set it right although the file may be as wanted."""

    title: str
    file: File
    drift: str = ""


@dataclass(frozen=True)
class Plan:
    """What one machine goes through, in step with all others. `watched`: whether each step waits for the others.

    `reached` are the mesh addresses of the other machines of this run. `held_back` are machines that keep an old key,
    since not all machines are in this run: those that are not would no longer reach them. `guarded`: the mesh is the
    only way in, so that a change stays only if a new login works. `votes`: whether this machine's etcd member must see
    a quorum between two steps; one that lost its vote in the stack file may be dismissed already, and sees none.
    """

    steps: tuple[Step, ...]
    port: int
    kernel: bool
    reached: tuple[str, ...] = ()
    watched: bool = False
    held_back: tuple[str, ...] = ()
    guarded: bool = False
    votes: bool = True


def plan_of(wanted: Wanted, facts: Mapping[str, Facts], came_in: str = "") -> Plan:
    """The way of one machine from what there is to what is wanted.

    `facts`: of all machines of this run, by name; `came_in`: the machine's address that this run goes to. Raises
    `BastideError` when new keys would cut this run off.
    """
    mesh, machine, machines, keyring = wanted.mesh, wanted.machine, wanted.machines, wanted.keyring
    kernel = facts[machine.name][WIREGUARD]["kernel"]
    if mesh is None:
        return Plan((Step("no mesh", File(CONFIG, None)),), 0, kernel)
    held = {one.name: _held(one, mesh, keyring, facts) for one in machines}
    newest = {one.name: machine_key(keyring, one) for one in machines}
    old = [name for name in wanted.order if held[name].public != newest[name].public]
    whole = all(one.name in facts for one in machines)
    rotated = old if whole else []
    if rotated and came_in in mesh.machines.values():
        raise BastideError(
            "new keys for the mesh would cut off this run, which goes over it: your device knows the old ones",
            "ssh.open_to: operators, then `make infra` and `make deploy only=firewall`, then this again; "
            "docs/how-to/vpn.md",
        )
    view = _View(mesh, wanted.administrators, machines, facts)
    watched = bool(rotated) or any(
        view.drift(one, held) or not as_wanted(view.file(one, held), facts[one.name][FILES][CONFIG])
        for one in machines
        if one.name in facts
    )
    steps = [view.step("mesh", machine, held, view.drift(machine, held))]
    for name in rotated:
        held = {**held, name: newest[name]}
        steps.append(view.step(f"new key of {name}", machine, held))
    reached = tuple(mesh.machines[other.name] for other in wanted.others if other.name in facts)
    held_back = () if whole else tuple(old)
    guarded, votes = wanted.only_way_in, wanted.votes
    return Plan(tuple(steps), mesh.port, kernel, reached, watched, held_back, guarded, votes)


@dataclass(frozen=True)
class _View:
    """What all machines are to each other, for given keys."""

    mesh: Mesh
    administrators: Mapping[str, Administrator]
    machines: tuple[Machine, ...]
    facts: Mapping[str, Facts]

    def step(self, title: str, machine: Machine, keys: Mapping[str, MeshKey], drift: str = "") -> Step:
        return Step(title, self.file(machine, keys), drift)

    def file(self, machine: Machine, keys: Mapping[str, MeshKey]) -> File:
        text = render(
            "wireguard/wg0.conf.j2",
            address=self.mesh.machines[machine.name],
            prefix=self.mesh.prefix,
            port=self.mesh.port,
            mtu=self._size(machine),
            private=keys[machine.name].private.get_secret_value(),
            peers=list(self._peers(machine, keys)),
        )
        return File(CONFIG, SecretStr(text), mode=0o600)

    def drift(self, machine: Machine, keys: Mapping[str, MeshKey]) -> str:
        """Why the interface is not as the file says; "" when it is."""
        running = self.facts[machine.name][WIREGUARD]["running"]
        if running is None:
            return f"{INTERFACE} is not up"
        same = {
            "key": running["key"] == keys[machine.name].public,
            "port": running["port"] == self.mesh.port,
            "size": running["size"] == self._size(machine),
            "addresses": running["addresses"] == [self._address(machine)],
        }
        if off := [word for word, holds in same.items() if not holds]:
            return f"{INTERFACE} has another {', '.join(off)} than declared"
        peers = {peer["key"]: peer for peer in self._peers(machine, keys)}
        if set(peers) != set(running["peers"]):
            return f"{INTERFACE} has other peers than declared"
        for key, peer in peers.items():
            there = running["peers"][key]
            # a device of an administrator is wherever it last came from
            if there["allowed"] != [f"{peer['address']}/32"] or peer["endpoint"] not in ("", there["endpoint"]):
                return f"{INTERFACE} has the peer {peer['name']} with other addresses than declared"
        return ""

    def _address(self, machine: Machine) -> str:
        return f"{self.mesh.machines[machine.name]}/{self.mesh.prefix}"

    def _size(self, machine: Machine) -> int:
        """The largest packet that fits through the narrowest of the ways to the others."""
        sizes = [size for size in self.facts[machine.name][WIREGUARD]["sizes"].values() if size]
        least, most = _SIZES
        return min(max(min(sizes, default=least) - _OVERHEAD, least), most)

    def _peers(self, machine: Machine, keys: Mapping[str, MeshKey]) -> Iterator[dict[str, str]]:
        for other in self.machines:
            if other.name != machine.name:
                yield {
                    "name": other.name,
                    "key": keys[other.name].public,
                    "address": self.mesh.machines[other.name],
                    "endpoint": f"{other.address_for(machine)}:{self.mesh.port}",
                }
        for name, device in self.administrators.items():
            yield {"name": f"{name} (administrator)", "key": device.key, "address": device.address, "endpoint": ""}


def _held(machine: Machine, mesh: Mesh, keyring: Keyring, facts: Mapping[str, Facts]) -> MeshKey:
    """The pair that a machine has now: what it says itself, or what the others know it by; else the newest.

    A key that no master gives (somebody set it, or the machine is new) is no reason to wait: it is replaced at once.
    """
    known = machine_keys(keyring, machine)
    for name, seen in facts.items():
        running = seen[WIREGUARD]["running"]
        if running is None:
            continue
        own = f"{mesh.machines[machine.name]}/32"
        said = [key for key, peer in running["peers"].items() if peer["allowed"] == [own]]
        for key in [running["key"]] if name == machine.name else said if machine.name not in facts else []:
            if key in known:
                return known[key]
    return machine_key(keyring, machine)
