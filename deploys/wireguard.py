"""An encrypted mesh: every machine reaches every other one, administrators reach the machines, nobody else anything.

Debian's wg-quick@wg0 brings it up, in the kernel where that has WireGuard and else by wireguard-go (wg-quick(8) falls
back to it). Peers change by `wg syncconf`, which interrupts no other peer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr
from pyinfra.api.deploy import deploy

from bastide.errors import BastideError
from bastide.layout.firewall import TABLE
from bastide.layout.wireguard import CONFIG, INTERFACE, UNIT
from bastide.machines import Machine
from bastide.mesh import Mesh, MeshKey, machine_key, machine_keys, mesh_of
from bastide.secrets import Keyring
from bastide.settings import Settings
from deploys.etcd import membership
from deploys.facts.ask import this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import FILES
from deploys.facts.nftables import TABLES
from deploys.facts.units import UNITS
from deploys.facts.wireguard import WIREGUARD
from deploys.operations.admit import admit
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, as_wanted, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.phase import phase
from deploys.operations.units import unit
from deploys.operations.wait import wait
from deploys.render import render

PACKAGES = ("iputils-ping", "wireguard-tools")
IN_PROGRAM = "wireguard-go"
"""The package that does it where the kernel cannot."""
QUORUM_CHECKS: tuple[str, ...] = (membership.QUORUM_CHECK,)
"""Shell lines that must hold on every machine before the next one gets a new key. A capability whose members talk over
the mesh adds its own: while one machine is away for a moment, all others must be there."""
# WireGuard's own part of a packet over IPv6, the larger one (wireguard.com/papers/wireguard.pdf, 5.4.6)
_OVERHEAD = 80
# RFC 8200: the least that every link carries; and what fits the internet's usual 1500
_SIZES = (1280, 1420)
_HANDSHAKE_SECONDS = 40  # a lost handshake is tried again after 5 s, and given up after 90 (ibid., 6.1)

# An address is changed by a restart; peers, keys and packet size are not worth one. What is left of a crash goes first.
_SETTLE = f"""\
if [ ! -e {CONFIG} ]; then
    ip link delete dev {INTERFACE} 2>/dev/null
    systemctl -q disable --now {UNIT} 2>/dev/null; systemctl reset-failed {UNIT} 2>/dev/null; exit 0
fi
systemctl -q enable {UNIT} || exit 1
has=$(ip -4 -o address show dev {INTERFACE} 2>/dev/null | tr -s ' ' | cut -d' ' -f4)
wanted=$(sed -n 's/^Address = //p' {CONFIG}) size=$(sed -n 's/^MTU = //p' {CONFIG})
if systemctl -q is-active {UNIT} && [ "$has" = "$wanted" ]; then
    ip link set dev {INTERFACE} mtu $size && wg-quick strip {INTERFACE} | wg syncconf {INTERFACE} /dev/stdin
else
    systemctl -q stop {UNIT}; ip link delete dev {INTERFACE} 2>/dev/null; systemctl reset-failed {UNIT} 2>/dev/null
    systemctl start {UNIT} || {{ journalctl -qu {UNIT} -n 5 -o cat >&2; exit 1; }}
fi
"""


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


# New keys come one machine at a time, and the mesh must be whole before each: with two machines away at once a quorum
# of three would be lost. The barrier is an operation that all hosts share (deploys/operations/phase.py).
@deploy("wireguard")
def wireguard(plan: Plan) -> None:
    """The interface, its key and its peers."""
    host = this_host()
    packages(name="packages", names=needed(plan.kernel) if plan.steps[0].file.content else ())
    # before the firewall of this run opens it: what comes after it may need the mesh
    if plan.steps[0].file.content:
        admit(name="port in the host firewall", port=plan.port, protocol="udp")
    for step in host.loop(plan.steps):  # type: ignore[no-untyped-call]
        if plan.guarded:
            confirmed(
                name=step.title, name_="wireguard", wanted=(step.file,), settle=_SETTLE, port=None, drift=step.drift
            )
        else:
            files(name=step.title, name_="wireguard", wanted=(step.file,), settle=_SETTLE, drift=step.drift)
        if plan.watched:
            phase(name=f"{step.title}: everywhere")
            wait(
                name=f"{step.title}: every machine answers",
                until=" && ".join(f"ping -n -q -c 1 -W 1 {address}" for address in plan.reached) or "true",
                seconds=_HANDSHAKE_SECONDS,
                for_what="an answer of every other machine over the mesh; next: `make infra` opens the provider's "
                f"firewall for UDP {plan.port}, `wg show` says with whom there was a handshake",
            )
            # only where a machine is to go away next: what keeps a quorum from being there may be mended further on
            if len(plan.steps) > 1:
                wait(
                    name=f"{step.title}: quorum",
                    until=" && ".join(f"{{ {check}; }}" for check in QUORUM_CHECKS if plan.votes) or "true",
                    seconds=_HANDSHAKE_SECONDS,
                    for_what="a quorum on every machine",
                )
            phase(name=f"{step.title}: the mesh is whole")
    if plan.steps[0].file.content:
        unit(name="interface", name_=UNIT, state="running")
    if plan.held_back:
        host.log(f"note: new keys wait for a deploy of all machines: {', '.join(plan.held_back)}")


def fact_request(settings: Settings, machine: Machine, machines: tuple[Machine, ...]) -> FactRequest:
    """All that this capability will ask a machine."""
    ends = [one.address_for(machine) for one in machines if one.name != machine.name] if settings.wireguard else []
    return merged(
        packages_request((*PACKAGES, IN_PROGRAM)),
        files_request((File(CONFIG, None),)),
        UNITS.request([UNIT]),
        TABLES.request([TABLE]),
        WIREGUARD.request(sorted(set(ends))),
    )


def needed(kernel: bool) -> tuple[str, ...]:
    """The packages, given whether the kernel has WireGuard."""
    return PACKAGES if kernel else (*PACKAGES, IN_PROGRAM)


def plan_of(
    settings: Settings,
    machine: Machine,
    machines: tuple[Machine, ...],
    keyring: Keyring,
    facts: Mapping[str, Facts],
    came_in: str = "",
) -> Plan:
    """The way of one machine from what there is to what is wanted.

    `facts`: of all machines of this run, by name; `came_in`: the machine's address that this run goes to. Raises
    `BastideError` when new keys would cut this run off.
    """
    mesh = mesh_of(settings)
    kernel = facts[machine.name][WIREGUARD]["kernel"]
    if mesh is None:
        return Plan((Step("no mesh", File(CONFIG, None)),), 0, kernel)
    held = {one.name: _held(one, mesh, keyring, facts) for one in machines}
    newest = {one.name: machine_key(keyring, one) for one in machines}
    old = [name for name in settings.one_at_a_time if held[name].public != newest[name].public]
    whole = all(one.name in facts for one in machines)
    rotated = old if whole else []
    if rotated and came_in in mesh.machines.values():
        raise BastideError(
            "new keys for the mesh would cut off this run, which goes over it: your device knows the old ones",
            "ssh.open_to: operators, then `make infra` and `make deploy only=firewall`, then this again; "
            "docs/how-to/vpn.md",
        )
    view = _View(settings, mesh, machines, facts)
    watched = bool(rotated) or any(
        view.drift(one, held) or not as_wanted(view.file(one, held), facts[one.name][FILES][CONFIG])
        for one in machines
        if one.name in facts
    )
    steps = [view.step("mesh", machine, held, view.drift(machine, held))]
    for name in rotated:
        held = {**held, name: newest[name]}
        steps.append(view.step(f"new key of {name}", machine, held))
    reached = tuple(mesh.machines[one.name] for one in machines if one.name in facts and one.name != machine.name)
    held_back = () if whole else tuple(old)
    votes = machine.name in settings.etcd_members
    return Plan(tuple(steps), mesh.port, kernel, reached, watched, held_back, settings.ssh.open_to == "vpn", votes)


@dataclass(frozen=True)
class _View:
    """What all machines are to each other, for given keys."""

    settings: Settings
    mesh: Mesh
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
        wanted = self.settings.wireguard
        for name, device in (wanted.administrators if wanted else {}).items():
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
