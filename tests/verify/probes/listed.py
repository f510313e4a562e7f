"""The scripts that run as root on machines, each registered by name: what is not registered here is run by nobody.

The text of one follows from the stack's settings, its inventory and the machine that it runs on, and from nothing else;
what is random or of the moment goes beside it as words (`$1`, `$2`). So all texts are known beforehand
(`allowed`), and the account of the checks may run these alone (docs/decisions/0031).

No script may read a file that a word names, nor do to others what a word names without looking whether it may.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bastide.layout.users import WORD
from bastide.machines import Machine
from tests.verify.probes.world import Call, Output, World

Text = str | Callable[[World, Machine], str]
"""A shell script, or how it is made for one machine of a stack ("" for one where there is nothing to ask)."""


@dataclass(frozen=True)
class Listed:
    """A registered script."""

    name: str
    script: Text

    def text(self, world: World, machine: Machine) -> str:
        """Its whole text for the machine that it runs on."""
        return self.script if isinstance(self.script, str) else self.script(world, machine)

    def call(self, world: World, machine: Machine, *words: object) -> Call:
        """The script with its words, for `World.batch`. Raises `ValueError` for a word that no machine would take."""
        said = tuple(map(str, words))
        if wrong := [word for word in said if not re.fullmatch(WORD, word, re.ASCII)]:
            raise ValueError(f"{self.name}: {wrong[0]!r} is no word for a script")
        return Call(self.text(world, machine), said)

    def run(self, world: World, machine: Machine, *words: object) -> Output:
        """What it prints on a machine, in a round trip of its own."""
        return world.as_root(machine.name, self.call(world, machine, *words))


_listed: dict[str, Listed] = {}
_REGISTERS = re.compile(r"^from tests\.verify\.probes\.(batch|listed) import", re.MULTILINE)


def listed(name: str, script: Text) -> Listed:
    """Register a script under a name of its own. Raises `ValueError` when the name is taken."""
    if name in _listed:
        raise ValueError(f"two commands are called {name}")
    return _listed.setdefault(name, Listed(name, script))


def allowed(world: World, machine: Machine) -> dict[str, str]:
    """The names of all that may run on a machine, by the SHA-256 of their texts."""
    _all_register()
    texts = {name: one.text(world, machine) for name, one in _listed.items()}
    return {hashlib.sha256(text.encode()).hexdigest(): name for name, text in texts.items() if text}


@cache
def _all_register() -> None:
    """Import whoever registers a script; the others of this folder ask no machine, and some bring large libraries."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if _REGISTERS.search(path.read_text(encoding="utf-8")):
            importlib.import_module(f"tests.verify.probes.{path.stem}")
