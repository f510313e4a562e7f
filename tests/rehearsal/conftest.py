"""The rehearsal: a lab and a stack of its own, made by the commands that users type, removed at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.console import heed_interrupts, run
from lab.client import Lab
from tests.rehearsal.stack import Rehearsal

ROOT = Path(__file__).parents[2]
STACK = "rehearsal"

heed_interrupts()


@pytest.fixture(scope="session")
def fresh(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    """The rehearsal's place, emptied of what a killed run left; removed again at the end."""
    yield from fresh_stack(STACK, keep=request.config.getoption("--keep"))


@pytest.fixture(scope="session")
def rehearsal(fresh: Rehearsal) -> Rehearsal:
    """The rehearsal's stack after `make up`: three machines, deployed and proven."""
    done = fresh.make("up", timeout=1200)
    (fresh.build / "up.log").write_text(done.stdout + done.stderr)
    return fresh


def fresh_stack(name: str, *, keep: bool) -> Iterator[Rehearsal]:
    """An emptied place for a stack and a lab of this name, which begins with `rehearsal`; removed again at the end."""
    # its commands have no terminal at which sudo could ask
    if os.geteuid() != 0 and not (shutil.which("sudo") and run(["sudo", "-n", "true"], check=False).ok):
        pytest.fail("the rehearsal starts a lab: run it as root, or as a user whose sudo asks for no password", False)
    rehearsal = Rehearsal(name, ROOT)
    if Lab(name).status()["kept"]:
        pytest.fail(f"the lab '{name}' is kept for a look; then: python -m lab --name {name} keep off", False)
    remove(rehearsal)
    yield rehearsal
    if keep or Lab(name).status()["kept"]:
        print(f"\nthe lab '{name}' is left up: ssh -F {rehearsal.build / 'ssh_config'} primary")
    else:
        remove(rehearsal)


def remove(rehearsal: Rehearsal) -> None:
    """Machines first, then what speaks of them."""
    rehearsal.lab("down", timeout=120)
    rehearsal.file.unlink(missing_ok=True)
    (ROOT / "stacks" / f"{rehearsal.stack}.known_hosts").unlink(missing_ok=True)
    for path in rehearsal.build.glob("*"):
        # what was caught, and for how long writes stopped, are figures of other stacks' pages: they outlive it
        if path.name not in ("sabotage.json", "failover.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
