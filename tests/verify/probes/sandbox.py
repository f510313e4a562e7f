"""What each service may do, as systemd has read its unit and as its processes really run."""

from __future__ import annotations

from bastide.layout.sandbox import AS_SHIPPED, sandboxes
from bastide.machines import Machine
from tests.verify.probes.batch import command
from tests.verify.probes.scripts import script
from tests.verify.probes.world import World


def services_script(world: World, machine: Machine) -> str:
    """remote/sandboxes.py with the units that the machine has."""
    units = [*(one.unit for one in sandboxes(world.settings, machine.name)), *AS_SHIPPED]
    return script({"units": units}, "sandboxes")


services = command(
    "sandboxes",
    services_script,
    shows="grep -E 'Cap|NoNewPrivs|Seccomp' /proc/PID/status; cat /proc/PID/mountinfo; systemd-analyze security UNIT",
)
