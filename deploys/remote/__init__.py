"""Scripts that run on the machines, and how they get there.

A script is plain Python of the standard library. It goes to `python3 -I -` over standard input: neither the script
nor what it is told stands in argv, in sudo's log or in pyinfra's output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pyinfra.api.command import StringCommand

COMMAND = "python3 -I -S -"
# pyinfra asks for a password at the terminal when it sees sudo's own complaint: it must not get to see it
AS_ROOT = f"sudo -n true 2>/dev/null && exec sudo -n {COMMAND}"
NO_ROOT = "sudo does not make root without a password"


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


def call(script: str, function: str, *arguments: object, parts: Sequence[str] = ()) -> Quiet:
    """The standard input that runs `function` of a script of this folder with JSON arguments.

    The script finds its own text in `SOURCE`, so that it can leave a copy of itself on the machine. `parts` are scripts
    that are run after it in the same namespace: they add to what it can do.
    """
    values = json.dumps(arguments)
    lines = (
        "import json",
        f"SOURCE = {_source(script)!r}",
        f"exec(compile(SOURCE, {script + '.py'!r}, 'exec'))",
        *(f"exec(compile({_source(part)!r}, {part + '.py'!r}, 'exec'))" for part in parts),
        f"{function}(*json.loads({values!r}))",
    )
    return Quiet("\n".join(lines) + "\n", f"{script}.{function}")


def command(script: str, function: str, *arguments: object) -> StringCommand:
    """A pyinfra command that runs `function` of a script on the machine; see `call`."""
    return StringCommand(COMMAND, _stdin=call(script, function, *arguments))


@cache
def _source(script: str) -> str:
    return Path(__file__).with_name(f"{script}.py").read_text(encoding="utf-8")
