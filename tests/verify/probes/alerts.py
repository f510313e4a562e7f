"""How the alerts of a machine are: the last round, the ways out, what it sees of the others and they of it."""

from __future__ import annotations

from bastide.layout.alerts import CONFIG, MEMORY, PORT, PROGRAM, UNIT
from bastide.machines import Machine
from tests.verify.probes.batch import ask, command
from tests.verify.probes.engine import FIRST, probe
from tests.verify.probes.scripts import script
from tests.verify.probes.systemd import show
from tests.verify.probes.world import Output, World

seen = command(
    "alerts",
    lambda world, machine: script(
        {
            "name": machine.name,
            "program": PROGRAM,
            "config": CONFIG,
            "memory": MEMORY,
            "port": PORT,
            "pages": world.settings.mesh if len(world.settings.servers) > 1 else {},
            "elsewhere": {
                other.name: [address for address in (other.address, other.private_address) if address]
                for other in world.inventory
            },
        },
        "alerts_seen",
    ),
    shows=f"cat {MEMORY}; curl http://MACHINE:{PORT}/ (each machine, in the mesh and elsewhere); ss -ltn",
)
unit = command("alertsunit", show(UNIT))


@probe(order=FIRST, asks=(seen,))
def everywhere(world: World, machine: Machine) -> tuple[str, dict[str, Output]]:
    """The same of every machine: one of them calls outside."""
    return f"# cat {MEMORY} (every machine)", {other.name: ask(world, other, seen) for other in world.inventory}
