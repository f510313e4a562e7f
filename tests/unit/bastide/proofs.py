"""Made-up proofs for the tests of evidence and page: the example stack, all green, one minute old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bastide.checks import proof_digests
from bastide.controls import CONTROLS
from bastide.evidence import Check, Evidence, Outcome, Row, Run, RunMachine, digest, make_row
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from bastide.stackfile import read

EXAMPLE = Path(__file__).parents[3] / "stacks" / "Pulumi.example.yaml"
AT = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
SETTINGS = read(EXAMPLE)


def inventory(environment: str = "cloud", settings: Settings = SETTINGS) -> Inventory:
    """The machines that the example's settings ask for."""
    machines = tuple(
        Machine(
            name=name,
            role=server.role,
            location=server.location,
            id=str(40 + number),
            generation=1,
            address=f"198.18.0.{number}",
            address6=f"2001:db8:{number}::1",
            private_address=server.private_address,
            host_key="ssh-ed25519 AAAA",
        )
        for number, (name, server) in enumerate(settings.made.items())
    )
    return Inventory("example", environment, "bastide", "~/.ssh/bastide", 22, machines)


def with_existing(machines: Inventory) -> Inventory:
    """The same machines, of which the primary is somebody else's."""
    primary, *others = machines.machines
    theirs = replace(
        primary, location="fr-gravelines", address6="", private_address="", provider="existing", hoster="OVH",
        city="Gravelines", country_code="FR",
    )  # fmt: skip
    return replace(machines, machines=(theirs, *others))


def check(outcome: Outcome = "proven", detail: str = "", at: datetime = AT, name: str = "test_a.py::test_b") -> Check:
    """One check."""
    return Check(
        name=name,
        sentence="The look says so.",
        command="# look <here> & there",
        seen="what was seen",
        outcome=outcome,
        detail=detail,
        at=at,
        seconds=0.5,
    )


def row(control: str, machine: Machine, *checks: Check, settings: Settings = SETTINGS) -> Row:
    """One row; proven when no check is given."""
    return make_row(
        control=control,
        machine=machine.name,
        machine_id=machine.id,
        prober=False,
        environment="cloud",
        commit="0123456789ab",
        settings=digest(settings),
        proof=proof_digests()[control],
        checks=checks or (check(),),
    )


def run(machines: Inventory, *, complete: bool = True) -> Run:
    """The header of a run."""
    return Run(
        stack="example",
        environment="cloud",
        commit="0123456789ab",
        started=AT,
        finished=AT,
        complete=complete,
        tools={"pytest": "9"},
        machines=tuple(RunMachine(name=m.name, role=m.role, location=m.location, id=m.id) for m in machines),
    )


def all_green(machines: Inventory | None = None, settings: Settings = SETTINGS) -> Evidence:
    """Every control proven on every machine it speaks of."""
    machines = machines or inventory()
    rows = [row(one.id, machine, settings=settings) for one in CONTROLS for machine in one.machines(machines, settings)]
    return Evidence(run=run(machines), rows=tuple(rows))


def with_row(evidence: Evidence, changed: Row) -> Evidence:
    """The same evidence with one row replaced."""
    kept = [one for one in evidence.rows if (one.control, one.machine) != (changed.control, changed.machine)]
    return Evidence(run=evidence.run, rows=(*kept, changed))
