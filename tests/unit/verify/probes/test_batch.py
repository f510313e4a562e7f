"""One round trip a machine: each capability brings its own commands, and only what is needed is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify.probes import batch, users
from tests.verify.probes.engine import Engine, probe
from tests.verify.probes.world import Output, World

PRIMARY, STANDBY, _ = inventory().machines


class Told(World):
    """A stack whose machines repeat the commands that they are sent."""

    trips: list[tuple[str, list[str]]]

    def greet(self, name: str) -> None:
        """Everybody answers."""

    def batch(self, name: str, commands: Any) -> dict[str, Output]:
        """One round trip."""
        self.trips.append((name, sorted(commands)))
        return {key: Output(0, text) for key, text in commands.items()}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A stack of its own, and a registry that forgets what a test adds."""
    monkeypatch.setattr(batch, "_commands", dict(batch._commands))
    world = Told("unit-batch", SETTINGS, inventory(), Path("none"))
    object.__setattr__(world, "trips", [])
    monkeypatch.setattr(batch, "_once", type(batch._once)())
    return world


def test_a_capability_adds_a_command_by_itself_and_is_asked_in_the_one_round_trip(told: Told) -> None:
    kernel = batch.command("kernel", lambda world, machine: f"uname -r # {machine.name}", shows="uname -r")

    @probe(asks=(kernel, users.groups))
    def both(world: World, machine: Any) -> tuple[str, str]:
        return "# both", batch.ask(world, machine, kernel).text + batch.ask(world, machine, users.groups).text

    engine = Engine(told)
    engine.start([(kernel, PRIMARY), (both, PRIMARY), (users.accounts, PRIMARY)])
    assert engine.get(kernel, PRIMARY).data.text == "uname -r # primary"
    assert engine.get(kernel, PRIMARY).command == "# uname -r"
    assert engine.get(users.accounts, PRIMARY).command == "# getent passwd"
    assert engine.get(both, PRIMARY).data.startswith("uname -r # primary")
    engine.close()
    assert told.trips == [("primary", ["accounts", "groups", "kernel"])]


def test_two_commands_of_one_name_are_a_mistake(told: Told) -> None:
    with pytest.raises(ValueError, match="two commands are called accounts"):
        batch.command("accounts", "true")
