"""How the machines are kept up to date."""

from __future__ import annotations

from bastide.controls.model import Control, count, databases, join
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "updates-01",
        "Security updates",
        "Debian's security updates are installed on every server each day without a person's doing.",
        "A hole that is known in public is closed before most attackers come to it. Of each installed package a newer "
        "version would be taken, on every day of the week, whatever pins and holds say: that was asked, and that the "
        "archive can be reached by the way that the server has been told.",
        claims=(44,),
    ),
    Control(
        "updates-02",
        "Updates that wait",
        "No security update, and no reboot that it needs, has waited for more than {pending_days}; "
        "a longer wait raises an alert.",
        "An update that is downloaded and not in effect protects nobody. Since when it waits is remembered by the "
        "server itself, and who is root there could have it forget.",
        claims=(44,),
    ),
    Control(
        "updates-03",
        "Reboots",
        "Servers reboot for updates {apart} apart, in windows of their own, and only while all other servers answer.",
        "Updates never take down two servers at once. What reboots for another reason, a person or a timer of somebody "
        "else's, is not looked for.",
        claims=(44,),
    ),
    Control(
        "updates-04",
        "Package sources",
        "Software packages come from {archives} only, and each archive's signature is checked.",
        "Nobody between the archive and the server can slip in a package. Of each installed package an archive has "
        "this version or a newer one; a program that came by no package is not looked for.",
        claims=(44,),
    ),
    Control(
        "updates-05",
        "Updates of the databases",
        "An update restarts nothing that the databases stand on: one server after the other takes it up, "
        "within {pending_days}.",
        "A database is not moved in the middle of the day by a package, and an old program does not run on. What runs "
        "at a server's turn is known byte for byte.",
        claims=(44,),
        needs=databases,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    updates = settings.updates
    return {
        "pending_days": count(updates.max_pending_days, "day"),
        "apart": count(updates.reboot.minutes_apart, "minute"),
        "archives": join(["Debian", *(count(len(updates.sources), "other archive"),) * bool(updates.sources)]),
    }
