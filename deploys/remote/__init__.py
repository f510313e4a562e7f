"""Scripts that run on the machines, and how they get there.

A script is plain Python of the standard library. It goes to `python3 -I -` over standard input: neither the script
nor what it is told stands in argv, in sudo's log or in pyinfra's output. What it imports of this folder goes along.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pyinfra.api.command import StringCommand

COMMAND = "python3 -I -S -"
_SENDABLE = ("bastide.hold", "bastide.patroni")
"""Modules of the core that need nothing but the standard library, and go along to machines."""
_ROOT = Path(__file__).resolve().parents[2]
# pyinfra asks for a password at the terminal when it sees sudo's own complaint: it must not get to see it
AS_ROOT = f"sudo -n true 2>/dev/null && exec sudo -n {COMMAND}"
NO_ROOT = "sudo does not make root without a password"

# Each text becomes a module that the next ones import. They stay at hand: a script can leave itself on the machine.
_LOAD = """\
for name, text in SOURCES.items():
    module = sys.modules[name] = type(sys)(name)
    exec(compile(text, name, 'exec'), module.__dict__)
"""


class Quiet(str):
    """Text that shows only its label where pyinfra would print it (`-v`, `--debug-operations`, logs)."""

    label: str

    def __new__(cls, text: str, label: str) -> Quiet:
        """Wrap `text`; `label` is what is shown of it."""
        quiet = super().__new__(cls, text)
        quiet.label = label
        return quiet

    def __str__(self) -> str:
        return f"<{self.label}>"

    def __repr__(self) -> str:
        return str(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def call(script: str, function: str, *arguments: object, also: Iterable[str] = (), label: str = "") -> Quiet:
    """The standard input that runs `function` of a script of this folder with JSON arguments.

    `also`: further modules that go along, by their whole names.
    """
    name = f"{__name__}.{script}"
    values = json.dumps(arguments)
    lines = (
        "import binascii, json, sys, zlib",
        f"SOURCES = json.loads(zlib.decompress(binascii.a2b_base64({_packed(name, *also)!r})))",
        f"LOAD = {_LOAD!r}",
        "exec(LOAD)",
        f"sys.modules[{name!r}].{function}(*json.loads({values!r}))",
    )
    return Quiet("\n".join(lines) + "\n", label or f"{script}.{function}")


def command(script: str, function: str, *arguments: object) -> StringCommand:
    """A pyinfra command that runs `function` of a script on the machine; see `call`."""
    return StringCommand(COMMAND, _stdin=call(script, function, *arguments))


def program(script: str, function: str, *arguments: object, about: str) -> str:
    """A program to leave on the machine: it calls `function` with these arguments, then with the words it is told.

    Nothing in it is secret: it is written in full, to be read there. `about`: its first line, in words.
    """
    name = f"{__name__}.{script}"
    lines = (
        "#!/usr/bin/python3 -IS",
        f"# {about}",
        "import sys",
        f"SOURCES = {_sources(name)!r}",
        f"LOAD = {_LOAD!r}",
        "exec(LOAD)",
        f"sys.modules[{name!r}].{function}(*{list(arguments)!r}, *sys.argv[1:])",
    )
    return "\n".join(lines) + "\n"


@cache
def _packed(*names: str) -> str:
    """The texts in a third of their size: as they are they would not fit into the first packets of a connection."""
    return base64.b64encode(zlib.compress(json.dumps(_sources(*names)).encode(), 9)).decode()


def _sources(*names: str) -> dict[str, str]:
    """The texts of these modules by name, each after those that it imports: of this folder, or of `_SENDABLE`."""
    found: dict[str, str] = {}
    for name in names:
        text = _source(name)
        imported = re.findall(r"^from ([\w.]+) import ", text, re.MULTILINE)
        ours = [one for one in imported if one.startswith(f"{__name__}.") or one in _SENDABLE]
        found |= {**_sources(*ours), name: text}
    return found


@cache
def _source(name: str) -> str:
    return _ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
