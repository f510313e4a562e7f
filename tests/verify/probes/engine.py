"""Probes are taken before their observations are judged: all at once, side by side, each only once.

A check names its probe with the marker `probe`; the tests then judge what is already there. That is why the whole suite
takes about as long as its slowest probe.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from bastide.machines import Machine
from tests.verify.probes.world import Observation, World, now

FIRST, NORMAL, LAST, QUIET = 0, 1, 2, 3
_WORKERS = 24  # probes wait for the network, not for a processor


@dataclass(frozen=True, eq=False)
class Probe:
    """A function (world, machine) -> (what a person would type, data) with its place in the order.

    Not callable by itself: pytest would take a callable in a marker for the test to be marked.
    """

    function: Callable[[World, Machine], tuple[str, Any]]
    order: int = NORMAL
    active: bool = False
    asks: tuple[str, ...] = ()

    def take(self, world: World, machine: Machine) -> Observation:
        """Take it, and note when and how long."""
        at, began = now(), time.monotonic()
        command, data = self.function(world, machine)
        return Observation(command, data, at, round(time.monotonic() - began, 2))


def probe(
    *, order: int = NORMAL, active: bool = False, asks: Iterable[Probe] = ()
) -> Callable[[Callable[[World, Machine], tuple[str, Any]]], Probe]:
    """Make a probe of a function.

    `order`: FIRST opens the shared connections, LAST is what a server may take offence at (it waits for all others),
    QUIET what nobody else may knock beside (it waits for those, too).
    `active`: it knocks from the prober. `asks`: the batched commands (batch.py) that it takes the outputs of.
    """
    needed = tuple(name for one in asks for name in one.asks)
    return lambda function: Probe(function, order, active, needed)


class Engine:
    """Takes probes in the background and hands out what they gave."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="probe")
        self._lock = threading.Lock()
        self._taken: dict[tuple[Probe, str], Future[Observation]] = {}

    def start(self, wanted: Iterable[tuple[Probe, Machine]]) -> None:
        """Open one shared connection to each machine, then begin all probes.

        The pool is first in, first out, so a probe may wait for one of an earlier order.
        """
        pairs = _side_by_side(wanted)
        self._world.asked.update(name for item, _ in pairs for name in item.asks)
        names = {machine.name for _, machine in pairs}
        if self._world.inventory.prober and any(item.active for item, _ in pairs):
            names.add(self._world.inventory.prober.name)
        list(self._pool.map(self._world.greet, sorted(names)))
        for item, machine in pairs:
            self._submit(item, machine)

    def get(self, item: Probe, machine: Machine) -> Observation:
        """What the probe gave; waits for it. Raises what the probe raised."""
        return self._submit(item, machine).result()

    def close(self) -> None:
        """Forget what has not begun, and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, item: Probe, machine: Machine) -> Future[Observation]:
        with self._lock:
            key = (item, machine.name)
            if key not in self._taken:
                before = [future for (other, _), future in self._taken.items() if other.order < item.order]
                self._taken[key] = self._pool.submit(self._take, item, machine, before if item.order != NORMAL else [])
            return self._taken[key]

    def _take(self, item: Probe, machine: Machine, before: list[Future[Observation]]) -> Observation:
        wait(before)
        return item.take(self._world, machine)


def _side_by_side(wanted: Iterable[tuple[Probe, Machine]]) -> list[tuple[Probe, Machine]]:
    """By their order, and within one by turns of the machines: those of one machine wait for its first one, and would
    keep all of the pool until it is there."""
    turns: Counter[tuple[int, str]] = Counter()
    places: list[tuple[int, int]] = []
    pairs = list(wanted)
    for item, machine in pairs:
        places.append((item.order, turns[item.order, machine.name]))
        turns[item.order, machine.name] += 1
    return [pair for _, pair in sorted(zip(places, pairs, strict=True), key=lambda placed: placed[0])]


class Once:
    """Values that several threads may ask for and one of them works out (a scan of all machines, say)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[object, Future[Any]] = {}

    def __call__(self, key: object, make: Callable[[], Any]) -> Any:
        """The value of `key`. An error is kept and raised again, too: nobody knocks twice."""
        with self._lock:
            mine = key not in self._values
            future = self._values.setdefault(key, Future())
        if mine:
            try:
                future.set_result(make())
            except Exception as error:
                future.set_exception(error)
        return future.result()
