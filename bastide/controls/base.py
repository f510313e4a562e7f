"""How the machines are kept."""

from __future__ import annotations

from bastide.controls.model import WEEK, Control
from bastide.layout.base import UNNEEDED
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
    Control(
        "base-04",
        "Closed files",
        "An account without rights reads no log of a server, no list of passwords, and not its ssh server's settings.",
        "Logs name people and addresses; what a program reads before it attacks is what it can read.",
        max_age=WEEK,
        claims=(37, 116),
    ),
    Control(
        "base-05",
        "Restarts after upgrades",
        "Services that use a file which an upgrade replaced are restarted by themselves, except those that take turns.",
        "A mended library protects nobody as long as the old one is in memory.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "base-06",
        "Installed programs",
        "Every file that a Debian package brought to a server is as the package has it, settings aside.",
        "A program that somebody else put in the place of Debian's is found.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "base-07",
        "Programs that nobody needs",
        "No server has a compiler, nor any of {unneeded} packages that speak without encryption or serve nothing here.",
        "What is not there cannot be attacked, nor used by somebody who came in.",
        max_age=WEEK,
        claims=(116,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    return {
        "keep_days": str(settings.base.journal.keep_days),
        "max_use": str(settings.base.journal.max_use_mb),
        "timezone": settings.base.timezone,
        "unneeded": str(sum(name not in settings.base.packages for name in UNNEEDED)),
    }
