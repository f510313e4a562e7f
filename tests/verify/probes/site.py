"""Where the provider says that a machine stands."""

from __future__ import annotations

from dataclasses import dataclass

from bastide.machines import Machine
from tests.verify.probes.batch import ask, command
from tests.verify.probes.engine import FIRST, probe
from tests.verify.probes.provider import Told, asked
from tests.verify.probes.world import World

METADATA = "http://169.254.169.254/hetzner/v1/metadata"
"""The provider's metadata service (docs.hetzner.cloud, "Server Metadata")."""
METADATA6 = "http://[fe80::a9fe:a9fe%25DEVICE]/hetzner/v1/metadata"
"""The same over IPv6, where cloud-init asks first; DEVICE stands for the interface (RFC 6874)."""

# of a machine's own, or its neighbours could not be told from it
metadata = command(
    "metadata",
    f"curl -s -m 3 {METADATA}/region; echo; curl -s -m 3 {METADATA}/availability-zone",
    shows=f"curl -s -m 3 {METADATA}/{{region,availability-zone}}",
)


@dataclass(frozen=True)
class Place:
    """What the machine says of its place, and what the provider's API does; None where that was not asked."""

    metadata: str
    told: Told | None


@probe(order=FIRST, asks=(metadata,))
def place(world: World, machine: Machine) -> tuple[str, Place]:
    """Where a machine stands. The provider is asked where it can be: a machine testifies for itself, else."""
    shown, told = asked(world, machine)
    own = f"curl -s {METADATA}/{{region,availability-zone}} (on {machine.name})"
    return "; ".join(filter(None, (shown, own))), Place(ask(world, machine, metadata).text, told)
