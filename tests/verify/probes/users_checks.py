"""What the account of the checks can do: as root by its one program, and with its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bastide.console import Completed
from bastide.layout.users import GATE, LISTED
from bastide.machines import Machine
from tests.verify.probes.batch import ask
from tests.verify.probes.cluster import parsed
from tests.verify.probes.engine import LAST, probe
from tests.verify.probes.listed import allowed, listed
from tests.verify.probes.scripts import script
from tests.verify.probes.users import keys
from tests.verify.probes.world import Output, World

environment = listed("environment", "env")
_WHO = "getent passwd"  # the registered script `accounts`

verifier = listed(
    "verifier",
    lambda world, machine: (
        script(
            {
                "account": world.settings.users.verification.name,
                "gate": GATE,
                "listed": LISTED,
                "known": {"who": _WHO, "environment": environment.text(world, machine)},
            },
            "verifier",
        )
        if world.settings.users.verification
        else ""
    ),
)


@dataclass(frozen=True)
class Opened:
    """The key files' lines, and what became of sessions that were asked for with its key; none without that at hand."""

    keys: Output
    sessions: dict[str, Completed]


@probe(order=LAST)
def tried(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """What was refused and what was not, and the listed scripts that the checks do not have (`unknown`)."""
    found = parsed(machine, verifier.run(world, machine).text)
    found["unknown"] = sorted(set(found.get("listed", ())) - set(allowed(world, machine)))
    return f"# sudo -l -U NAME; runuser -u NAME -- sudo -n {GATE} (other scripts, words, variables)", found


@probe(order=LAST, asks=(keys,))
def opened(world: World, machine: Machine) -> tuple[str, Opened]:
    """Its key files and, for whoever has its key, sessions with it."""
    sessions = {}
    if world.gated:
        sessions = {
            "a command": world.login(machine.name, command="id -u"),
            "a terminal": world.login(machine.name, "-tt", command="id"),
            "file transfer": world.login(machine.name, "-s", command="sftp"),
            "a forwarded port": world.login(
                machine.name, "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22"
            ),
        }
    return "# cat of its key file (ssh NAME, -t, -s sftp, -W, with its key)", Opened(
        ask(world, machine, keys), sessions
    )
