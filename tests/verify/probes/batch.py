"""What a machine says of itself when root asks: all of it in one round trip a machine.

A capability's module registers its commands here when it is imported, and only those that the session's checks need are
asked. Each prints facts that may be shown to anybody: no password hash, no private key, no log line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bastide.machines import Machine
from tests.verify.probes.engine import FIRST, Once, Probe
from tests.verify.probes.world import Output, World

Script = str | Callable[[World, Machine], str]
"""A shell command, or how it is made for one machine of a stack."""


@dataclass(frozen=True)
class _Command:
    """`shows`: what a person would type, where the real command is a loop or a program that is sent along."""

    script: Script
    shows: str

    def text(self, world: World, machine: Machine) -> str:
        return self.script if isinstance(self.script, str) else self.script(world, machine)


_commands: dict[str, _Command] = {}
_once = Once()


def command(name: str, script: Script, *, shows: str = "") -> Probe:
    """Register a command under a name of its own, and make the probe of its output; `data` is an `Output`.

    Raises `ValueError` when the name is taken.
    """
    if name in _commands:
        raise ValueError(f"two commands are called {name}")
    known = _commands[name] = _Command(script, shows)

    def output(world: World, machine: Machine) -> tuple[str, Output]:
        found = _ask(world, machine, name)
        return f"# {known.shows or known.text(world, machine)}", found

    return Probe(output, order=FIRST, asks=(name,))


def ask(world: World, machine: Machine, one: Probe) -> Output:
    """A command's output, for a probe that says in `asks` that it needs it."""
    (name,) = one.asks
    return _ask(world, machine, name)


def _ask(world: World, machine: Machine, name: str) -> Output:
    """The first to ask asks for all that this session needs (`World.asked`)."""

    def batch() -> dict[str, Output]:
        wanted = {key: known.text(world, machine) for key, known in _commands.items() if key in world.asked}
        return world.batch(machine.name, wanted)

    outputs: dict[str, Output] = _once((world.stack, machine.name), batch)
    return outputs[name]
