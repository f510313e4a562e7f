"""What people get to read of what is due to be told."""

from __future__ import annotations

import time

from .channels import Message
from .cluster import CLUSTER
from .telling import SILENT, Due

_MOST_SHOWN = 100


def message_of(one: Due, stack: str, told_by: str) -> Message:
    """What, since when, and what next."""
    finding = one.finding
    lines = [f"{one.machine}: {finding['what']}", f"since {_clock(finding['since'])}"]
    if one.state == "resolved":
        lines = [f"{one.machine}: this is over: {finding['what']}", f"it began {_clock(finding['since'])}"]
    elif finding["next"]:
        # of some things the next step is the operator's own machine
        where = "" if one.key == SILENT or one.machine == CLUSTER else f", on {one.machine}"
        lines.append(f"next{where}: {finding['next']}")
    return Message(stack, one.machine, finding["what"], one.state, told_by, tuple(lines))


def digest_of(several: list[Due], stack: str, told_by: str) -> Message:
    """All of it as one message."""
    messages = [message_of(one, stack, told_by) for one in several[:_MOST_SHOWN]]
    lines = [line for message in messages for line in (message.subject, *message.lines[1:], "")]
    machines = ", ".join(dict.fromkeys(one.machine for one in several))
    return Message(stack, machines, f"{len(several)} messages", "alert", told_by, tuple(lines))


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at))
