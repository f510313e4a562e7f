"""Who is turned away."""

from __future__ import annotations

from bastide.controls.model import Control, count
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "fail2ban-01",
        "Failed logins",
        "Who fails to log in {fails} within {find} is banned for {ban}, and for twice as long each further time.",
        "Guessing ends after a few tries. A refused key counts: of root, of a person, of automation and of who does "
        "not exist. As many failures ban over IPv4 as over IPv6. A ban is of one address; who moves on within a "
        "network of IPv6 is slowed down by ssh, which counts a /64 as one. Who is root can "
        "lift a ban, by hand or by a timed job: that is not looked for.",
        claims=(34,),
    ),
    Control(
        "fail2ban-02",
        "What a ban does",
        "A banned address gets no answer from any port of the server, over IPv4 and IPv6, nor to a ping.",
        "Whoever guesses at logins cannot look for other ways in meanwhile.",
        claims=(34,),
    ),
    Control(
        "fail2ban-03",
        "Who is never banned",
        "The networks of the operators and the servers' own addresses are never banned.",
        "Nobody can shut out those who would have to help by failing in their name.",
        claims=(34,),
    ),
    Control(
        "fail2ban-04",
        "How long a ban holds",
        "Bans are kept on disk: they outlive a restart, and for {remember} the next ban of an address is longer.",
        "A restart is no way around a ban.",
        claims=(34,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    wanted = settings.fail2ban
    return {
        "fails": count(wanted.max_tries, "time"),
        "find": count(wanted.find_minutes, "minute"),
        "ban": count(wanted.ban_minutes, "minute"),
        "remember": count(wanted.remember_days, "day"),
    }
