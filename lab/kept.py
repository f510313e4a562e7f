"""The mark that a lab is kept for a look: while it is on, `lab down` refuses, and rehearsals leave the lab alone."""

from __future__ import annotations

from bastide.errors import LabError
from lab.place import Place


def keep(here: Place, on: bool) -> None:
    """Set or remove the mark."""
    mark = here.folder / "kept"
    if on:
        mark.touch(mode=0o600)
    else:
        mark.unlink(missing_ok=True)


def kept(here: Place) -> bool:
    """Is it on?"""
    return (here.folder / "kept").exists()


def refuse(here: Place) -> None:
    """Raise `LabError` while the lab is kept."""
    if kept(here):
        raise LabError(
            f"the lab '{here.name}' is kept for a look",
            f"run `python -m lab --name {here.name} keep off` first, or add --force",
        )
