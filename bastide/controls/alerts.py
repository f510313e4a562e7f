"""Who hears of what goes wrong."""

from __future__ import annotations

from bastide.controls.model import Control, alerts, alerts_in_mesh, heartbeat, join
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "alerts-01",
        "Telling what needs attention",
        "Failed services, full disks and alerts in the journal are looked for every minute, and people told by {ways}.",
        "What nobody hears of is not mended. Whom a webhook or a mail relay tells in turn is theirs to say: the "
        "address that is called is a secret that no check knows.",
        claims=(108,),
        needs=alerts,
    ),
    Control(
        "alerts-02",
        "Telling for each other",
        "Every server reads what is wrong with every other one, and tells for one that does not answer.",
        "A server that failed cannot say so itself.",
        claims=(107, 108),
        needs=alerts_in_mesh,
    ),
    Control(
        "alerts-03",
        "What alerts show to others",
        "What the servers tell each other can be read in the mesh by the servers and by nobody else.",
        "Whoever attacks is not told what is broken. A copy that root on a server lays for others is not looked for.",
        claims=(108,),
        needs=alerts_in_mesh,
    ),
    Control(
        "alerts-04",
        "The dead man's signal",
        "A service outside is called every {heartbeat}; it raises the alarm when the calls stop.",
        "The loss of everything at once is noticed, too.",
        claims=(107, 108),
        needs=heartbeat,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    wanted = settings.alerts
    ways = [*(["mail"] if wanted and wanted.mail else []), *(["webhook"] if wanted and wanted.webhook else [])]
    minutes = wanted.heartbeat.every_minutes if wanted and wanted.heartbeat else 0
    return {"ways": join(ways), "heartbeat": "minute" if minutes == 1 else f"{minutes} minutes"}
