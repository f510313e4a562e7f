"""Runs on the machine: what its own changes (deploys/remote/change.py) have left."""

from __future__ import annotations

from deploys.remote.facts.common import STATE, entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.changes import Unfinished


def unfinished(_: None) -> Unfinished:
    """What runs that were killed left."""
    pending, guard = ([path.name for path in entries(f"{STATE}/{kind}")] for kind in ("pending", "guard"))
    return {"pending": pending, "guard": guard}
