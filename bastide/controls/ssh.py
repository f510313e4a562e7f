"""How they log in."""

from __future__ import annotations

from bastide.controls.model import Control
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "ssh-01",
        "Keys only",
        "Only keys open a session: every server refuses passwords, for every account.",
        "A guessed or leaked password opens nothing. What runs is judged, not its file: one ssh server listens, "
        "without options of its own, and it has read its settings since they were last changed.",
        claims=(33,),
    ),
    Control(
        "ssh-02",
        "Root login",
        "Nobody can log in as root, not even with a valid key.",
        "Every session belongs to a named account. Asked for every network and port that the settings name apart.",
        claims=(33, 37),
    ),
    Control(
        "ssh-03",
        "Algorithms",
        "Logins use the algorithms of ssh-audit's policy “Hardened Debian 13 (version 1)”, and no other.",
        "Every key exchange in that policy is also meant to withstand a quantum computer.",
        claims=(33,),
    ),
    Control(
        "ssh-04",
        "Login limits",
        "A connection may try {tries} keys and has {grace} seconds to log in; who fails is refused for a time.",
        "Guessing is slowed down; an IPv6 network that one guesser may have whole (/64) counts as one address. The "
        "operators' own addresses are spared, so that nobody locks them out.",
        claims=(33, 34),
    ),
    Control(
        "ssh-05",
        "Identity of the servers",
        "Every server shows the one host key that was recorded for it, and each connection insists on it.",
        "Somebody who stood between an operator and a server would show another key.",
        claims=(33,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    return {"tries": str(settings.ssh.max_auth_tries), "grace": str(settings.ssh.login_grace_seconds)}
