"""Checks by effect on the machines of one stack: `pytest tests/verify`, with $BASTIDE_STACK or the stack `lab`.

It reads build/<stack>/inventory.json and ssh_config and the stack file's plain settings; it needs no passphrase and no
Pulumi, leaves nothing behind and is safe on a stack in use. Without an inventory it stops: it never checks the machine
it runs on. The outcome goes to build/<stack>/evidence.json.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bastide.controls import control
from bastide.errors import BastideError
from bastide.evidence import evidence_path
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.evidence_plugin import NOTED, EvidencePlugin, Noted, controls_of, machine_of, not_provable_here
from tests.verify.probes.engine import Engine, Probe
from tests.verify.probes.world import Observation, World, open_world

_WORLD = pytest.StashKey[World]()
_ENGINE = pytest.StashKey[Engine]()


def pytest_addoption(parser: pytest.Parser) -> None:
    option = parser.getgroup("verify").addoption
    option("--control", action="append", default=[], metavar="ID", help="only this control (may be repeated)")
    option("--machine", action="append", default=[], metavar="NAME", help="only this machine (may be repeated)")
    option("--evidence", type=Path, metavar="FILE", help="write evidence here (build/<stack>/evidence.json)")
    option("--verification", action="store_true", help="as settings.users.verification, which runs listed scripts only")
    option("--all-ports", action="store_true", help="scan all 65,535 TCP ports (about two minutes)")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.tbstyle == "auto":
        config.option.tbstyle = "line"  # a check's own sentence says what is wrong; --tb=long shows the rest
    # It goes through all loggers before and after each check, while probes in other threads import what makes new ones
    # ("dictionary changed size during iteration"). Nobody reads logs here, and a client's might hold what it was told.
    config.pluginmanager.set_blocked("logging-plugin")
    try:
        world = open_world(all_ports=config.option.all_ports, gated=config.option.verification)
        for name in config.option.machine:
            world.inventory[name]
        for control_id in config.option.control:
            control(control_id)
    except BastideError as error:
        raise pytest.UsageError(f"{error.message}\n next: {error.hint}") from None
    config.stash[_WORLD] = world
    path = config.option.evidence or evidence_path(world.stack, world.root)
    config.pluginmanager.register(EvidencePlugin(world, path), "bastide-evidence")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A check runs once for each machine that one of its controls speaks of."""
    if "machine" not in metafunc.fixturenames:
        return
    world = metafunc.config.stash[_WORLD]
    ids = [str(word) for mark in metafunc.definition.iter_markers("control") for word in mark.args]
    machines = dict.fromkeys(
        machine for word in ids for machine in control(word).machines(world.inventory, world.settings)
    )
    metafunc.parametrize("machine", machines, ids=lambda machine: machine.name, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ids, names = set(config.option.control), set(config.option.machine)
    kept = [
        item
        for item in items
        if (not ids or ids & set(controls_of(item))) and (not names or machine_of(item).name in names)
    ]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin all probes at once; the checks then judge what is there."""
    if session.config.option.collectonly:
        return
    world = session.config.stash[_WORLD]
    session.config.stash[_ENGINE] = engine = Engine(world)
    pairs = dict.fromkeys((_probe_of(item), machine_of(item)) for item in session.items)
    engine.start((probe, machine) for probe, machine in pairs if world.has_prober_at_hand or not probe.active)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if engine := session.config.stash.get(_ENGINE, None):
        engine.close()


@pytest.fixture(scope="session")
def world(pytestconfig: pytest.Config) -> World:
    """The stack that is checked."""
    return pytestconfig.stash[_WORLD]


@pytest.fixture(scope="session")
def settings(world: World) -> Settings:
    """What is wanted of it."""
    return world.settings


@pytest.fixture(scope="session")
def inventory(world: World) -> Inventory:
    """What there is."""
    return world.inventory


@pytest.fixture
def observation(request: pytest.FixtureRequest, world: World, machine: Machine) -> Observation:
    """What the check's probe gave. Does not return when it cannot be taken here."""
    item = request.node
    probe = _probe_of(item)
    noted = item.stash.setdefault(NOTED, Noted())
    if probe.active and not world.has_prober_at_hand:
        not_provable_here("there is no prober, a host outside of the platform to look from, or no key to it")
    taken: Observation = request.config.stash[_ENGINE].get(probe, machine)
    noted.observation = taken
    return taken


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say in a few words what was seen; it stands in the evidence and on the page."""
    noted: Noted = request.node.stash.setdefault(NOTED, Noted())
    return noted.seen.append


def _probe_of(item: pytest.Item) -> Probe:
    mark = item.get_closest_marker("probe")
    if mark is None or not isinstance(mark.args[0], Probe):
        raise pytest.UsageError(f"{item.nodeid} has no marker `probe`: say what it looks at")
    return mark.args[0]
