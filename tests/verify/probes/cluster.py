"""What etcd's members and the database servers share: how each is asked, and who reaches their ports from elsewhere."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bastide.layout import etcd, postgres
from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.listed import Listed
from tests.verify.probes.reach import knock
from tests.verify.probes.world import NotSeen, World, declared

ETCD_PORTS = (etcd.CLIENT_PORT, etcd.PEER_PORT)
LOCAL_PORTS = (postgres.LEADER_PORT, postgres.REPLICA_PORT, postgres.POOL_PORT)
POSTGRES_PORTS = (postgres.PORT, postgres.PATRONI_PORT, *LOCAL_PORTS)
_NOBODY = 65534  # Debian's base-passwd
_once = Once()


@dataclass(frozen=True)
class Said:
    """What this machine says, and what all of them say, by name."""

    own: dict[str, Any]
    all: dict[str, dict[str, Any]]


@probe(active=True)
def strangers(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """What the prober reaches of all these ports, over IPv4 and IPv6."""
    prober = world.inventory.prober
    if prober is None:
        return "# no prober", {}
    ports = (*ETCD_PORTS, *POSTGRES_PORTS)
    addresses = filter(None, (machine.address, machine.address6))
    outputs = world.batch(prober.name, {address: knock.call(world, machine, address, *ports) for address in addresses})
    shown = f"{prober.name}# connect to {machine.name}, ports {' '.join(map(str, ports))}"
    return shown, {address: parsed(machine, done.text) for address, done in outputs.items()}


@probe()
def neighbours(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """What another machine reaches of them past the provider's firewall (`outside`), and in the mesh (`mesh`)."""
    sibling = elsewhere(world, machine) or next((one for one in world.inventory if one.name != machine.name), None)
    if sibling is None:
        return "# nobody else", {}
    ports = (*ETCD_PORTS, *POSTGRES_PORTS)
    outputs = world.batch(
        sibling.name,
        {
            "outside": knock.call(world, sibling, machine.address_for(sibling), *ports),
            "mesh": knock.call(world, sibling, world.settings.mesh[machine.name], *ports),
        },
    )
    shown = f"{sibling.name}# connect to {machine.name}, ports {' '.join(map(str, ports))}"
    return shown, {what: parsed(machine, done.text) for what, done in outputs.items()}


def strangers_own(keys: Mapping[str, list[str]], accounts: Mapping[str, str]) -> Iterator[str]:
    """Each file with a key or a password that belongs to another account than root or the one that needs it.

    `keys`: mode and owner by path; `accounts`: who needs what lies below a path, the nearest first.
    """
    for path, (_, owner) in keys.items():
        needs = next(account for folder, account in accounts.items() if path.startswith(folder))
        if owner not in ("root", needs):
            yield f"{path} belongs to {owner}, who can read it"


def judge_silence(
    settings: Settings, seen: dict[str, dict[str, Any]], ports: Iterable[int], note: Callable[[str], None]
) -> None:
    """None of the ports gave an answer. `seen`: what the knocks of reach.py gave, by whom or where it was tried."""
    declared(settings.postgres)
    assert seen, "nothing was tried"
    judge(answers_of(seen, ports))
    note(f"no answer from {', '.join(map(str, ports))} ({', '.join(seen)})")


def answers_of(seen: Mapping[str, dict[str, Any]], ports: Iterable[int]) -> Iterator[str]:
    """Each place from which one of the ports can be reached, or from which silence would prove nothing."""
    for where, found in seen.items():
        if not found.get("ping"):
            yield f"no answer to a ping ({where}): silence proves nothing"
        states = {port: found.get("ports", {}).get(str(port), "not tried") for port in ports}
        if reached := [f"{port} ({state})" for port, state in states.items() if state != "filtered"]:
            yield f"{where}: port {', '.join(reached)} can be reached"


def reached_by_accounts(found: Mapping[str, dict[str, str]], what: str) -> Iterator[str]:
    """Each account without a right that reaches what root alone may, and why silence would prove nothing.

    `found`: by account, root first, what became of a connection to each port; `what`: what listens there.
    """
    root, *others = found.items()
    if set(root[1].values()) != {"open"}:
        yield f"root reaches not every {what} either: silence proves nothing"
    for number, ports in others:
        if not ports:
            yield f"nothing could be tried as account {number}"
        if reached := sorted(port for port, state in ports.items() if state == "open"):
            yield f"account {number} of this machine gets through to {', '.join(reached)}"


def nobody_else(settings: Settings, note: Callable[[str], None]) -> bool:
    """Whether this server is the only one: what is said of others holds then, since there are none."""
    if len(settings.servers) > 1:
        return False
    note("there is no other server")
    return True


def sites(world: World) -> list[Machine]:
    """The machines that carry databases."""
    return [machine for machine in world.inventory if machine.role != "witness"]


def elsewhere(world: World, machine: Machine) -> Machine | None:
    """Another machine of the mesh that carries no database."""
    return next((one for one in world.inventory if one.role == "witness" and one.name != machine.name), None)


def accounts() -> list[int]:
    """Numbers of accounts without a right: a known one, and one that nobody can have thought of."""
    return [_NOBODY, secrets.randbelow(30_000) + 30_000]


def answer(world: World, machine: Machine, script: Listed) -> dict[str, Any]:
    """What a machine says to a script that prints JSON and is told numbers of accounts; asked once.

    A round trip of its own, beside the one of batch.py: it waits for others than this machine.
    """
    found: dict[str, Any] = _once(
        (world.stack, machine.name, script.name),
        lambda: parsed(machine, script.run(world, machine, *accounts()).text),
    )
    return found


def parsed(machine: Machine, text: str) -> dict[str, Any]:
    """The JSON that a machine printed. Raises `NotSeen` for anything else."""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        last = (text.splitlines() or ["nothing"])[-1]
        raise NotSeen(f"{machine.name} could not be asked: {last}", "are python3, psql and etcdctl there?") from None
    return found
