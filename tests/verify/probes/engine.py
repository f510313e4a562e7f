"""Looks are taken before they are judged: all at once, side by side, each only once.

A check names its look with the marker `look`; the tests then judge what is already there. That is why the whole suite
takes about as long as its slowest look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from bastide.machines import Machine
from tests.verify.probes.world import Sight, World, now

FIRST, NORMAL, LAST, QUIET = 0, 1, 2, 3
_WORKERS = 24  # looks wait for the network, not for a processor


@dataclass(frozen=True, eq=False)
class Look:
    """A function (world, machine) -> (command, data) with its place in the order.

    Not callable by itself: pytest would take a callable in a marker for the test to be marked.
    """

    function: Callable[[World, Machine], tuple[str, Any]]
    order: int
    active: bool
    asks: str

    def take(self, world: World, machine: Machine) -> Sight:
        """Take the look, and note when and how long."""
        at, began = now(), time.monotonic()
        command, data = self.function(world, machine)
        return Sight(command, data, at, round(time.monotonic() - began, 2))


def look(
    *, order: int = NORMAL, active: bool = False, asks: str = ""
) -> Callable[[Callable[[World, Machine], tuple[str, Any]]], Look]:
    """Make a look of a function.

    `order`: FIRST opens the shared connections, LAST is what a server may take offence at (it waits for all others),
    QUIET what nobody else may knock beside (it waits for those, too).
    `active`: it knocks from the prober. `asks`: what it needs of tests/verify/probes/batch.py's commands.
    """
    return lambda function: Look(function, order, active, asks)


class Looks:
    """Takes looks in the background and hands out what they gave."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="look")
        self._lock = threading.Lock()
        self._taken: dict[tuple[Look, str], Future[Sight]] = {}

    def start(self, wanted: Iterable[tuple[Look, Machine]]) -> None:
        """Open one shared connection to each machine, then begin all looks.

        The pool is first in, first out, so a look may wait for one of an earlier order.
        """
        pairs = sorted(wanted, key=lambda pair: pair[0].order)
        self._world.asked.update(item.asks for item, _ in pairs if item.asks)
        names = {machine.name for _, machine in pairs}
        if self._world.inventory.prober and any(item.active for item, _ in pairs):
            names.add(self._world.inventory.prober.name)
        list(self._pool.map(self._world.greet, sorted(names)))
        for item, machine in pairs:
            self._submit(item, machine)

    def get(self, item: Look, machine: Machine) -> Sight:
        """What the look gave; waits for it. Raises what the look raised."""
        return self._submit(item, machine).result()

    def close(self) -> None:
        """Forget what has not begun, and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, item: Look, machine: Machine) -> Future[Sight]:
        with self._lock:
            key = (item, machine.name)
            if key not in self._taken:
                before = [future for (other, _), future in self._taken.items() if other.order < item.order]
                self._taken[key] = self._pool.submit(self._take, item, machine, before if item.order != NORMAL else [])
            return self._taken[key]

    def _take(self, item: Look, machine: Machine, before: list[Future[Sight]]) -> Sight:
        wait(before)
        return item.take(self._world, machine)


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
