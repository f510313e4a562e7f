"""Who can log in."""

from __future__ import annotations

from bastide.controls.model import Control, count, verification
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "users-01",
        "Accounts",
        "Accounts that can log in: {people}, and {services}. There are no others.",
        "Who can get in is written down in one place, and this compares it with the servers: accounts, passwords, "
        "shells and consoles, and that no service of PAM takes a wrong password. Not looked for: a module of PAM that "
        "knows a password of its own.",
        claims=(36, 37),
    ),
    Control(
        "users-02",
        "Keys",
        "The keys that open those accounts are exactly those in the stack file; root has none.",
        "A key that somebody added by hand turns this sentence off, in whatever file ssh would read for any account.",
        claims=(36, 43),
    ),
    Control(
        "users-03",
        "Administrator rights",
        "Administrator rights: {admins}, and the automation account. Nobody else may become root{listed}.",
        "The fewer can change a server, the fewer can be attacked for it. Looked at: sudo, groups, programs that run "
        "with more rights than their caller's, who may write what root runs, and that PAM takes no wrong password; "
        "not what its modules or a timed job may do beside.",
        claims=(36, 37),
    ),
    Control(
        "users-04",
        "People who left",
        "Access of people who left is closed: {removed} without account, key or rights on any server.",
        "A key that a former colleague kept opens nothing.",
        claims=(43,),
    ),
    Control(
        "users-05",
        "Automation account",
        "Automation logs in with a key of its own, which opens no other account and forwards no connections.",
        "What automation did and what a person did carry different names.",
        claims=(36, 40),
    ),
    Control(
        "users-06",
        "Account of the checks",
        "The account of the checks gets no session: it is root for the scripts that are listed, and for nothing else.",
        "The key that proves all this every night opens no server, should it leak: it shows what the checks see.",
        claims=(36, 37),
        needs=verification,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    people = settings.users.people
    admins = [name for name, person in people.items() if person.sudo]
    return {
        "people": count(len(people), "person", "people"),
        "admins": count(len(admins), "person", "people"),
        "services": "one for automation and one for checks" if settings.users.verification else "one for automation",
        "listed": "; the checks' account runs listed scripts as root" if settings.users.verification else "",
        "removed": count(len(settings.users.removed), "person", "people"),
    }
