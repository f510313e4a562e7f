"""`lab down`: takes everything of a lab away, whatever state it is in. Idempotent; safe after a kill at any point."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from bastide.console import say
from lab import kept, place, registry
from lab.machines import disk, links, machine, seal
from lab.machines.cgroups import close_tree
from lab.place import Place, lab_id


def down(name: str, *, force: bool = False) -> None:
    """Remove the lab. Nothing on disk is needed for it: all names follow from the lab's id.

    Raises `LabError` for a lab that is kept, unless `force`.
    """
    began = time.monotonic()
    with registry.alone(name):
        here = registry.find(name)
        if here and not force:
            kept.refuse(here)
        existed = _remove(name)
    say(f"lab '{name}' is down ({time.monotonic() - began:.1f} s)" if existed else f"lab '{name}' is not up")


def _remove(name: str) -> bool:
    """Returns whether there was anything."""
    known = registry.find(name)
    here = known or Place(name, lab_id(name), 0)
    existed = known is not None or here.folder.exists() or Path("/sys/class/net", here.uplink).exists()
    # processes first: all of them live in the lab's control groups; then what they used; the seal last
    close_tree(here.cgroup)
    links.link_delete(here.uplink)
    for netns in links.netns_names():
        if here.owns_netns(netns):
            links.netns_delete(netns)
    for name in machine.leftover_names():
        if here.owns_netns(name):
            machine.clear_leftovers(name)
    disk.unmount_below(here.folder)
    disk.detach_loops(here.folder)
    seal.remove(here)
    info = registry.read_json(here.folder / "lab.json").get("info")
    if info:
        # it would lead to addresses where nobody is any more
        with contextlib.suppress(OSError):
            Path(info).unlink()
    if here.folder.is_relative_to(place.ROOT):
        shutil.rmtree(here.folder, ignore_errors=True)
    registry.release(here)
    return existed
