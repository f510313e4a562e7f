"""The relay that holds packets back: starting, stopping, and whether it runs. What it does: `delayer.py`.

One process a lab, for all delayed pairs in all of its networks.
"""

from __future__ import annotations

import time
from pathlib import Path

from bastide.console import tail_of
from bastide.errors import LabError
from lab.machines import trouble
from lab.machines.cgroups import open_tree
from lab.machines.spawn import python, spawn
from lab.place import Place
from lab.registry import locked

_GROUP = "net/delay"
_START_SECONDS = 15.0


def restart(here: Place) -> None:
    """Start the relay with the delays of now, anew when it runs; without delays it ends. Returns when it is at work.

    What it holds in this moment is lost, a few packets, as on a line that is switched over.
    """
    with locked(here.folder / ".delay.lock"):
        _restart(here)


def running(here: Place) -> bool:
    """Does it run, or is there nothing to do for it?"""
    return not trouble.delays(here) or open_tree(here.cgroup, make=False).populated(_GROUP)


def ready_file(here: Place) -> Path:
    """Exists while the relay is at work."""
    return here.folder / "delay.ready"


def _restart(here: Place) -> None:
    tree = open_tree(here.cgroup)
    tree.kill(_GROUP)
    ready_file(here).unlink(missing_ok=True)
    if not trouble.delays(here):
        return
    tree.make_fresh(_GROUP)
    log = here.folder / "delay.log"
    words = python("lab.machines.delayer", here.name, str(here.slot))
    spawn(words, procs=tree.procs(_GROUP), log=log)
    began = time.monotonic()
    while not ready_file(here).exists():
        waited = time.monotonic() - began
        if waited > _START_SECONDS or (waited > 1 and not tree.populated(_GROUP)):
            raise LabError(
                f"the relay that delays packets does not come up:\n{tail_of(log.read_text())}",
                f"it needs /dev/net/tun: `modprobe tun`. The whole log: {log}",
            )
        time.sleep(0.01)
