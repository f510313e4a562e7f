"""How the machines are kept."""

from __future__ import annotations

from bastide.controls.model import WEEK, Control
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "base-01",
        "Clock",
        "Every server's clock is synchronised over the network.",
        "Times in logs can be compared.",
        max_age=WEEK,
        claims=(39,),
    ),
    Control(
        "base-02",
        "System journal",
        "The system journal is kept for at most {keep_days} days and {max_use} megabytes on each server.",
        "Old log data goes, and the journal stops growing before the disk is full.",
        max_age=WEEK,
        claims=(92,),
    ),
    Control(
        "base-03",
        "Names and time zone",
        "Every server carries its declared name and keeps time in {timezone}.",
        "A line in a log says which server wrote it and when.",
        max_age=WEEK,
        claims=(39,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    return {
        "keep_days": str(settings.base.journal.keep_days),
        "max_use": str(settings.base.journal.max_use_mb),
        "timezone": settings.base.timezone,
    }
