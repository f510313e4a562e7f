"""The lab for Python programs (tests, rehearsals, benchmarks): the command line's verbs as functions.

Each call is `python -m lab`, so that it works for root and through sudo alike. But what root asks a machine is asked
from here: tests do that a thousand times, and each start of a Python costs 0.3 s of a core.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bastide.console import Completed, run
from bastide.errors import CommandFailed, LabError
from lab import inside, registry
from lab.machines.store import by_name
from lab.place import CHECKOUT


@dataclass(frozen=True)
class Lab:
    """A lab by its name."""

    name: str

    def up(self, *, port: int, token: str, authorized_key: Path, info: Path, timeout: float = 600) -> dict[str, Any]:
        """Make or repair it. Returns what the info file says."""
        words = ["--port", str(port), "--token-file", "-", "--authorized-key", str(authorized_key), "--info", str(info)]
        self._call("up", *words, input=token, timeout=timeout)
        value: dict[str, Any] = json.loads(info.read_text())
        return value

    def down(self) -> None:
        """Take it away."""
        self._call("down", timeout=120)

    def status(self) -> dict[str, Any]:
        """See `lab.status.look`."""
        value: dict[str, Any] = json.loads(self._call("status", "--json", check=False).stdout)
        return value

    def execute(
        self, machine: str, argv: Sequence[str], *, input: str | None = None, timeout: float = 60, check: bool = True
    ) -> Completed:
        """Run a command as root inside of a machine; no network and no key is used."""
        if os.geteuid() != 0:
            return self._call("exec", machine, *argv, input=input, timeout=timeout, check=check)
        try:
            here = registry.find(self.name)
            if here is None:
                raise LabError(f"there is no lab '{self.name}'", "make it with `python -m lab up`")
            words = inside.command(by_name(here, machine), argv)
        except LabError as error:
            # as the command line says it
            if check:
                raise CommandFailed(error.message, error.hint) from error
            return Completed(1, "", f"error: {error.message}\n next: {error.hint}\n")
        return run(words, input=input, timeout=timeout, check=check)

    def crash(self, machine: str) -> None:
        """Cut the power."""
        self._call("crash", machine)

    def start(self, machine: str) -> None:
        """Switch it on; returns when its PID 1 exists."""
        self._call("start", machine)

    def reboot(self, machine: str) -> None:
        """Ask it to reboot; returns at once."""
        self._call("reboot", machine)

    def do(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        """Any other verb of the command line, as it is typed: `do("block", "a", "b")`. Returns what it says."""
        done = self._call(*words, check=check, timeout=timeout)
        return done.stdout + done.stderr

    def _call(self, *words: str, input: str | None = None, timeout: float = 60, check: bool = True) -> Completed:
        argv = [sys.executable, "-m", "lab", "--name", self.name, *words]
        return run(argv, input=input, timeout=timeout, check=check, cwd=CHECKOUT)
