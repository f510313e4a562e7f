"""What a machine says of itself when root asks: all of it in one round trip a machine.

A capability's module registers its commands here when it is imported, and only those that the session's checks need are
asked. Each prints facts that may be shown to anybody: no password hash, no private key, no log line.
"""

from __future__ import annotations

from bastide.machines import Machine
from tests.verify.probes.engine import FIRST, Once, Probe
from tests.verify.probes.listed import Listed, Text, listed
from tests.verify.probes.world import NotSeen, Output, World

_commands: dict[str, Listed] = {}
_once = Once()


def command(name: str, script: Text, *, shows: str = "") -> Probe:
    """Register a script under a name of its own, and make the probe of its output; `data` is an `Output`.

    `shows`: what a person would type, where the script is a loop or a program that is sent along. Raises `ValueError`
    when the name is taken.
    """
    known = _commands[name] = listed(name, script)

    def output(world: World, machine: Machine) -> tuple[str, Output]:
        found = _ask(world, machine, name)
        return f"# {shows or known.text(world, machine)}", found

    return Probe(output, order=FIRST, asks=(name,))


def ask(world: World, machine: Machine, one: Probe) -> Output:
    """A command's output, for a probe that says in `asks` that it needs it."""
    (name,) = one.asks
    return _ask(world, machine, name)


def _ask(world: World, machine: Machine, name: str) -> Output:
    """The first to ask asks for all that this session needs (`World.asked`)."""

    def batch() -> dict[str, Output | NotSeen]:
        wanted = {key: known.call(world, machine) for key, known in _commands.items() if key in world.asked}
        return world.each(machine.name, wanted)

    output: Output | NotSeen = _once((world.stack, machine.name), batch)[name]
    if isinstance(output, NotSeen):
        raise output
    return output
