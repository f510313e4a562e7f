"""The rehearsal: labs and stacks of its own, made by the commands that users type, removed at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.console import heed_interrupts, run
from lab.client import Lab
from tests.groups import stack_of
from tests.rehearsal.stack import Rehearsal

ROOT = Path(__file__).parents[2]

heed_interrupts()


_LABS = pytest.StashKey["Labs"]()


class Labs:
    """The labs that tests share (`LAB` of their modules), one at a time in this process: each takes 2 GB of memory."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._name = ""
        self._stack: Iterator[Rehearsal] = iter(())
        self._fresh: Rehearsal | None = None
        self._is_up = False
        self._failed: BaseException | None = None

    def fresh(self, name: str) -> Rehearsal:
        """This lab's place: emptied of what a killed run left when the first test asks for it."""
        if name != self._name or self._fresh is None:
            self.leave()
            self._name, self._is_up, self._failed = name, False, None
            self._stack = fresh_stack(stack_of(name), keep=self._keep)
            self._fresh = next(self._stack)
        return self._fresh

    def up(self, name: str) -> Rehearsal:
        """Its stack after `make up`: three machines, deployed and proven."""
        found = self.fresh(name)
        if self._failed:
            raise self._failed  # once is enough: every module would wait for it again
        if not self._is_up:
            try:
                done = found.make("up", timeout=1200)
            except BaseException as error:
                self._failed = error
                raise
            (found.build / "up.log").write_text(done.stdout + done.stderr)
            self._is_up = True
        return found

    def leave(self) -> None:
        """Remove the present one."""
        self._name, self._fresh = "", None
        for _ in self._stack:
            pass


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A lab goes with its last test."""
    try:
        return (yield)
    finally:
        if nextitem is None or _lab(nextitem) != _lab(item):
            _labs(item.config).leave()


@pytest.fixture(scope="module")
def fresh(request: pytest.FixtureRequest) -> Rehearsal:
    """The place of the module's lab, with nothing in it or with what the modules before left there."""
    return _labs(request.config).fresh(_lab(request.node))


@pytest.fixture(scope="module")
def rehearsal(request: pytest.FixtureRequest) -> Rehearsal:
    """The stack of the module's lab after `make up`: three machines, deployed and proven."""
    return _labs(request.config).up(_lab(request.node))


def fresh_stack(name: str, *, keep: bool, root: Path = ROOT) -> Iterator[Rehearsal]:
    """An emptied place for a stack and a lab of this name, which begins with `rehearsal`; removed again at the end.

    `root`: the checkout whose stack it is.
    """
    # its commands have no terminal at which sudo could ask
    if os.geteuid() != 0 and not (shutil.which("sudo") and run(["sudo", "-n", "true"], check=False).ok):
        pytest.fail("the rehearsal starts a lab: run it as root, or as a user whose sudo asks for no password", False)
    rehearsal = Rehearsal(name, root)
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
    (rehearsal.root / "stacks" / f"{rehearsal.stack}.known_hosts").unlink(missing_ok=True)
    for path in rehearsal.build.glob("*"):
        # what was caught, and for how long writes stopped, are figures of other stacks' pages: they outlive it
        if path.name.removesuffix(".sig") not in ("sabotage.json", "failover.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _labs(config: pytest.Config) -> Labs:
    if _LABS not in config.stash:
        config.stash[_LABS] = Labs(keep=config.getoption("--keep"))
    return config.stash[_LABS]


def _lab(node: pytest.Item | pytest.Collector) -> str:
    module = node.getparent(pytest.Module)
    return str(getattr(module.obj, "LAB", "")) if module else ""
