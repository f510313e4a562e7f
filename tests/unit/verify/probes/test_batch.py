"""One round trip a machine: each capability brings its own commands, and only what is needed is asked."""

from __future__ import annotations

import threading
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

from bastide.console import run
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify.probes import batch, listed, users
from tests.verify.probes.engine import _WORKERS, Engine, probe
from tests.verify.probes.world import Call, Output, World

PRIMARY, STANDBY, _ = inventory().machines


class Told(World):
    """A stack whose machines repeat the commands that they are sent."""

    trips: list[tuple[str, list[str]]]

    def greet(self, name: str) -> None:
        """Everybody answers."""

    def each(self, name: str, commands: Any) -> dict[str, Any]:
        """One round trip."""
        self.trips.append((name, sorted(commands)))
        return {key: Output(0, call.text) for key, call in commands.items()}


class Here(World):
    """A stack whose machines are this one, without sudo."""

    def host(self, name: str) -> Any:
        """A shell."""
        return type("Host", (), {"run": staticmethod(_local)})


def _local(line: str, *words: str) -> Any:
    done = run(["sh", "-c", (line % tuple(map(quote, words))).removeprefix("sudo -n ")], check=False)
    return type("Result", (), {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A stack of its own, and a registry that forgets what a test adds."""
    monkeypatch.setattr(batch, "_commands", dict(batch._commands))
    monkeypatch.setattr(listed, "_listed", dict(listed._listed))
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


def test_all_machines_are_asked_at_once_however_many_probes_wait_for_one(told: Told) -> None:
    """Each machine answers when the other one has been asked as well."""
    both_asked = threading.Barrier(2)
    each = told.each

    def answered_together(name: str, commands: Any) -> dict[str, Any]:
        both_asked.wait(timeout=20)
        return each(name, commands)

    object.__setattr__(told, "each", answered_together)
    probes = [batch.command(f"many {number}", "true") for number in range(_WORKERS + 1)]
    engine = Engine(told)
    engine.start((one, machine) for machine in (PRIMARY, STANDBY) for one in probes)
    assert all(engine.get(one, machine).data.code == 0 for machine in (PRIMARY, STANDBY) for one in probes)
    engine.close()
    assert sorted(name for name, _ in told.trips) == ["primary", "standby"]


def test_two_commands_of_one_name_are_a_mistake(told: Told) -> None:
    with pytest.raises(ValueError, match="two commands are called accounts"):
        batch.command("accounts", "true")


@pytest.mark.usefixtures("told")
def test_what_is_of_the_moment_goes_beside_a_script(tmp_path: Path) -> None:
    kernel = listed.listed("kernel", lambda world, machine: f'echo {machine.name} "$1"')
    world = Here("unit-batch", SETTINGS, inventory(), tmp_path)
    assert kernel.run(world, PRIMARY, 4711) == Output(0, "primary 4711")
    calls = {"a": kernel.call(world, PRIMARY, "x"), "b": Call('echo "$# $2"', ("one", "two three"))}
    assert world.batch("primary", calls) == {"a": Output(0, "primary x"), "b": Output(0, "2 two three")}
    with pytest.raises(ValueError, match="a script for primary is not registered"):
        world.as_root("primary", "id")
    with pytest.raises(ValueError, match="a script for primary is not registered"):
        world.batch("primary", {"c": "id"})


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("word", ["", "/etc/shadow", "-x", "a b", "$(id)", "a;b", "a\n", "é", "a" * 257])
def test_a_word_is_no_path_and_nothing_for_a_shell(word: str, tmp_path: Path) -> None:
    world = Here("unit-batch", SETTINGS, inventory(), tmp_path)
    with pytest.raises(ValueError, match="no word for a script"):
        listed.listed("any", "true").call(world, PRIMARY, word)
