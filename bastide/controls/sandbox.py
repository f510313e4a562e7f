"""What a service may do."""

from __future__ import annotations

from bastide.controls.model import Control, count, join
from bastide.layout.sandbox import AS_SHIPPED, LISTENS, OTHER, sandboxes
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "sandbox-01",
        "Rights of services",
        "Of root's rights {sandboxed} hold none{but}, and they can gain none.",
        "A hole in one of them is no way to the whole server. Each of their processes was asked for; system calls that "
        "mount, load, trace or restart are refused to them, too.",
        claims=(37, 116),
    ),
    Control(
        "sandbox-02",
        "What services can write",
        "{held} can write to {folders} of their own, to temporary files, and nowhere else.",
        "Whoever breaks into one changes no program and no setting. Every file system that one of their processes "
        "can come into was looked at.",
        claims=(37, 116),
    ),
    Control(
        "sandbox-03",
        "Exposure of services",
        "What systemd counts as exposure, of 10, is at most {exposure}.",
        "What is not closed to a service is counted by somebody else's rule.",
        claims=(37,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    found = list(dict.fromkeys(one for name in settings.servers for one in sandboxes(settings, name)))
    run = [one for one in found if one.runs]
    rights = [f"{', '.join(one.capabilities)} ({one.what})" for one in run if one.capabilities]
    listening = [one.what for one in found if one.exposure == LISTENS]
    rest = count(len(found) + len(AS_SHIPPED) - len(listening), "other service" if listening else "service")
    return {
        "sandboxed": join(one.what for one in run),
        "but": f" but {join(rights)}" if rights else "",
        "held": join(one.what for one in run),
        "folders": count(len({path for one in run for path in one.writes}), "folder"),
        "exposure": join([*([f"{LISTENS:g} for {join(listening)}"] if listening else []), f"{OTHER:g} for {rest}"]),
    }
