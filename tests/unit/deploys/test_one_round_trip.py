"""The whole of deploys/site.py, prepared for machines that only answer: what is asked, and what of it is used."""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.config import Config
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from bastide import machines
from bastide.machines import Machine
from bastide.settings import Settings
from deploys import checks
from deploys.facts import ask
from deploys.facts.fact import Facts
from deploys.operations import files
from tests.unit.deploys.box import ALERTS, CHECKS_KEY, KEYRING, MACHINES, SECRETS, SETTINGS, SOURCE

SITE = Path(__file__).parents[3] / "deploys/site.py"
THIRD = {"role": "standby", "location": "hel1", "private_address": "10.20.0.14"}
# all that there is to deploy: a site that has no vote, too
WHOLE = Settings.model_validate(
    {
        **SETTINGS.model_dump(),
        "servers": {**SETTINGS.model_dump()["servers"], "third": THIRD},
        "updates": {"sources": {"other": SOURCE.model_dump()}},
        "alerts": ALERTS,
        "users": {**SETTINGS.users.model_dump(), "verification": {"keys": (CHECKS_KEY,)}},
        "postgres": {"databases": {"app": {"roles": {"app_owner": "owner", "app": "writer"}}}, "max_connections": 500},
    }
)
PRIMARY, STANDBY, WITNESS = (replace(machine, volume=f"/dev/{machine.name}") for machine in MACHINES)
ALL = (PRIMARY, STANDBY, WITNESS, replace(STANDBY, name="third", address="198.18.0.14", private_address="10.20.0.14"))
Answers = dict[str, Callable[[Any], Any]]
UNIT = {"LoadState": "loaded", "UnitFileState": "disabled", "ActiveState": "inactive"}
RUNS = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}
# what a new machine answers for one of the names that it is asked about
BY_NAME: Answers = {
    "files": lambda path: None,
    "contents": lambda path: "",
    "modes": lambda path: "",
    "folders": lambda path: [],
    "groups": lambda name: None,
    "packages": lambda name: False,
    "by_name": lambda name: False,
    "units": lambda name: UNIT,
    "links": lambda path: "",
    "mounts": lambda path: None,
    "fstab": lambda path: "",
    "devices": lambda path: "",
    "room": lambda path: 0,
    "outdated": lambda unit: "",
    "sysctls": lambda path: {"values": {path: ""}, "settable": True},
    "tables": lambda name: {"live": "", "loaded": "", "ssh_ports": [], "udp_ports": []},
}
# and to the rest
NEW: Answers = {
    "unfinished": lambda _: {"pending": [], "guard": []},
    "half_way": lambda _: [],
    "sshd": lambda _: {},
    "advertised": lambda _: [],
    "homes": lambda _: [],
    "false_shells": lambda _: [],
    "fail2ban": lambda _: {"files": [], "server": None},
    "wireguard": lambda ends: {"sizes": dict.fromkeys(ends, 1500), "kernel": False, "running": None},
    "accounts": lambda _: {"accounts": {}, "key_files": [], "sudoers": [], "homes": [], "next_uid": 1000},
    "etcd_member": lambda _: member(runs=False),
    "patroni": lambda _: (
        {"patroni": None, "cluster": None, "config": None, "memory_mb": 4096, "knows": False}
        | {"data": "", "installed": "", "outdated": ""}
    ),
    "databases": lambda _: None,
    "in_force": lambda _: None,
    "machine": lambda _: (
        {"root": True, "system": "debian", "version": "13", "container": "", "disks": {}}
        | {"package_lock": "", "reboot": False, "holders": {}, "zone": True}
        | {"instead": [], "strange": {}, "other_rules": False, "bridges": []}
        | {"locale": True, "system_accounts": [], "cloud_init": True, "clock": time.time()}
    ),
}
# in which operations ask for more than the first thing that is not as wanted
CONVERGED: Answers = {
    "files": lambda path: {"sha256": "", "mode": 0o700, "owner": "etcd", "group": "etcd"},
    "packages": lambda name: True,
    "units": lambda name: (
        UNIT if name == "ssh.socket" else {**UNIT, "UnitFileState": "enabled", "ActiveState": "active"}
    ),
    "mounts": lambda path: {"device": "8:16", "source": "", "type": "", "options": []},
    "devices": lambda path: "8:16",
    "fstab": lambda path: f"tmpfs {path} tmpfs rw,nosuid,nodev,noexec 0 0",
    "tables": lambda name: {"live": "a", "loaded": "a", "ssh_ports": [22], "udp_ports": [51820]},
    "etcd_member": lambda _: member(runs=True),
}
WORLDS: dict[str, Answers] = {"new machines": {}, "deployed ones": CONVERGED}


def member(*, runs: bool) -> dict[str, Any]:
    known = dict.fromkeys(("data", "active", "healthy"), runs)
    return {
        **known,
        "forming": False,
        "apart": True,
        "trusts_both": False,
        "auth": False,
        "opens": False,
        "users": [],
        "members": [],
    }


class Names(dict[str, Any]):
    """Answers by name; whose is looked at is noted: "files /etc/hosts"."""

    def __init__(self, answers: dict[str, Any], fact: str, used: set[str]) -> None:
        super().__init__(answers)
        self.fact, self.used = fact, used

    def __getitem__(self, name: str) -> Any:
        self.used.add(f"{self.fact} {name}")
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.used.add(f"{self.fact} {name}")
        return super().get(name, default)


class World:
    """Machines without anything on them but what is said otherwise: what each was asked, and what of it was used."""

    def __init__(self, otherwise: Answers) -> None:
        self.answers = {**BY_NAME, **NEW, **otherwise}
        self.requests: dict[str, list[dict[str, Any]]] = {}
        self.used: dict[str, set[str]] = {}

    def fetch(self, host: Host, kind: object, request: dict[Any, Any]) -> Facts:
        """A round trip, as deploys/facts/ask.py makes it."""
        del kind
        by_name = {fact.name: asked for fact, asked in request.items()}
        self.requests.setdefault(host.name, []).append(by_name)
        used = self.used.setdefault(host.name, set())

        class Watched(Facts):
            def __getitem__(self, fact: Any) -> Any:
                found = super().__getitem__(fact)
                used.add(fact.name)
                return Names(found, fact.name, used) if fact.name in BY_NAME else found

            def get(self, fact: Any) -> Any:
                used.add(fact.name)
                return super().get(fact)

        return Watched(json.loads(json.dumps({name: self.answer(name, asked) for name, asked in by_name.items()})))

    def answer(self, fact: str, asked: Any) -> Any:
        answer = self.answers[fact]
        return {name: answer(name) for name in asked} if fact in BY_NAME else answer(asked)


@cache
def prepared(kind: str) -> World:
    """What preparing deploys/site.py for all machines does in the world of this name."""
    world, number = World(WORLDS[kind]), count()

    def alone(*_: object) -> tuple[tuple[int], str]:
        """Order and name of an operation: pyinfra takes them from the lines that call it; here machines share none."""
        place = next(number)
        return (place,), str(place)

    shared = {"settings": WHOLE, "machines": ALL, "keyring": KEYRING, "stack": "unit"}
    shared |= {"alert_secrets": SECRETS, "inventory": machines.Inventory("unit", "cloud", "bastide", "", 22, ALL)}
    state = State(Inventory(([(machine.name, {"machine": machine}) for machine in ALL], shared)), Config())
    for host in state.inventory:
        state.activate_host(host)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask, "_fetch", world.fetch)
        patch.setattr(checks, "listed_scripts", lambda inventory: {machine.name: {} for machine in inventory})
        patch.setattr(files, "as_wanted", lambda file, seen: seen is not None)
        patch.setattr(sys.modules["pyinfra.api.operation"], "solve_operation_consistency", alone)
        for host in state.inventory:
            with ctx_state.use(state), ctx_host.use(host):
                runpy.run_path(str(SITE))
    return world


def names_in(request: dict[str, Any]) -> set[str]:
    """What is asked, name by name where names are asked."""
    return {f"{fact} {name}" for fact in BY_NAME for name in request.get(fact, [])} | request.keys() - BY_NAME.keys()


@pytest.mark.parametrize("kind", WORLDS)
def test_what_operations_ask_was_requested_beforehand(kind: str) -> None:
    world = prepared(kind)
    assert set(world.requests) == {machine.name for machine in ALL}
    for name, (first, *more) in world.requests.items():
        missing = {word for request in more for word in names_in(request)} - names_in(first)
        assert not more, f"{name}: a second round trip for {sorted(missing)}"


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: str(machine.name))
def test_nothing_is_requested_that_nobody_uses(machine: Machine) -> None:
    worlds = [prepared(kind) for kind in WORLDS]
    used = {word for world in worlds for word in world.used[machine.name]}
    asked = names_in(worlds[0].requests[machine.name][0])
    assert sorted(asked - used) == []


def test_a_machine_is_asked_for_what_it_is_there_for() -> None:
    nouns = {name: set(first) for name, (first, *_) in prepared("new machines").requests.items()}
    cluster = {"patroni", "databases", "in_force"}
    assert {name: asked & cluster for name, asked in nouns.items()} == {
        "primary": cluster,
        "standby": cluster,
        "witness": set(),
        "third": cluster,
    }
    assert all(set(NEW) - cluster <= asked for asked in nouns.values())
