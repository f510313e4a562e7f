"""What accounts may do."""

from __future__ import annotations

from bastide.controls.model import WEEK, Control, count, join
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "accounts-01",
        "New files and homes",
        "A file that somebody makes on a server is closed to {closed_to}; so are homes, and what shells read in them.",
        "What somebody leaves lying about is nobody else's to read.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "accounts-02",
        "Guessed passwords",
        "An account takes no password any more after {tries} wrong ones, for {lock}; its ssh keys still open it.",
        "No account has a password (users-01). Should one get one, a console does not let it be guessed.",
        max_age=WEEK,
        claims=(37, 116),
    ),
    Control(
        "accounts-03",
        "Weak passwords",
        "A new password with fewer than {length} characters or four kinds of them, or used before, is refused; its age "
        "keeps no key out.",
        "Rules for passwords are not to lock out those who have none.",
        max_age=WEEK,
        claims=(37, 116),
    ),
    Control(
        "accounts-04",
        "Becoming somebody else",
        "Nobody becomes another account with su, whatever password he knows: sudo, which is logged, is the only way.",
        "Whoever becomes root says so by name.",
        max_age=WEEK,
        claims=(36, 116),
    ),
    Control(
        "accounts-05",
        "Administrators' commands",
        "Each command by sudo has a line in a log that root alone reads; an administrator's runs on a terminal of its "
        "own.",
        "A program that goes on after the command's end cannot type into the administrator's terminal.",
        max_age=WEEK,
        claims=(36, 37),
    ),
    Control(
        "accounts-06",
        "Idle sessions",
        "A shell that somebody types into ends after {idle} without a key pressed; he cannot change that.",
        "A desk that somebody left is not a way in for long.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "accounts-07",
        "Planned jobs",
        "Jobs are planned by {jobs}; what cron reads for root is readable by root alone.",
        "A job is how somebody comes back who was thrown out.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "accounts-08",
        "Before a login",
        "Whoever comes to a login, at a console or by ssh, reads what the company declared there, and no version.",
        "Nobody can say that he was not told; and nobody is told more than that.",
        max_age=WEEK,
        claims=(116,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    wanted = settings.accounts
    return {
        "closed_to": "all but its owner" if wanted.umask == "077" else "all but its owner and that one's group",
        "tries": str(wanted.password_tries),
        "lock": count(wanted.lock_minutes, "minute"),
        "length": str(wanted.password_length),
        "idle": count(wanted.idle_minutes, "minute"),
        "jobs": f"root and {join(wanted.jobs)} alone" if wanted.jobs else "root alone",
    }
