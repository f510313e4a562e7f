"""What a control is: something that is claimed, and what a proof of it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from bastide.machines import Inventory, Machine
from bastide.settings import Role, Settings

ALL_ROLES: tuple[Role, ...] = ("primary", "standby", "witness")
# A nightly run may fail to start once before the page loses a sentence about who can get in ...
DAYS = timedelta(days=2)
# ... and what changes only by hand (where a machine stands, its clock and journal) is looked at once a week.
WEEK = timedelta(days=8)


def always(settings: Settings) -> bool:
    """What holds for one server as for many."""
    return True


def several(settings: Settings) -> bool:
    """What is said of servers among each other."""
    return len(settings.servers) > 1


def two_sites(settings: Settings) -> bool:
    """What is said of a primary and a standby."""
    return bool(settings.by_role("standby"))


def mesh(settings: Settings) -> bool:
    """What is said of a mesh."""
    return settings.wireguard is not None


def mesh_of_several(settings: Settings) -> bool:
    """What is said of who meets in a mesh."""
    return mesh(settings) and several(settings)


def databases(settings: Settings) -> bool:
    """What is said of databases, wherever they are."""
    return settings.postgres is not None


def replicated(settings: Settings) -> bool:
    """What is said of data at two sites."""
    return databases(settings) and two_sites(settings)


def failover(settings: Settings) -> bool:
    """What is said of who leads: with a standby, and votes that outlive the loss of one."""
    return replicated(settings) and len(settings.etcd_members) != 1


def zones(settings: Settings) -> bool:
    """What is said of names."""
    return settings.dns is not None


def buckets(settings: Settings) -> bool:
    """What is said of an object storage."""
    return settings.storage is not None


def alerts(settings: Settings) -> bool:
    """What is said of messages to people."""
    return settings.alerts is not None


def alerts_in_mesh(settings: Settings) -> bool:
    """What is said of machines that tell of each other: they read each other's findings in the mesh."""
    return alerts(settings) and mesh_of_several(settings)


def verification(settings: Settings) -> bool:
    """What is said of an account for checks."""
    return settings.users.verification is not None


def heartbeat(settings: Settings) -> bool:
    """What is said of a dead man's signal."""
    return settings.alerts is not None and settings.alerts.heartbeat is not None


@dataclass(frozen=True)
class Control:
    """One thing that is claimed, and what a proof of it is worth.

    `subject` names it without claiming anything (used when it is not proven), `sentence` is the claim, `why` says what
    a customer has from it. `max_age` is how old a proof may be. `needs` says of which stacks it speaks at all: of the
    others it is neither checked nor printed.
    """

    id: str
    subject: str
    sentence: str
    why: str
    max_age: timedelta = DAYS
    roles: tuple[Role, ...] = ALL_ROLES
    claims: tuple[int, ...] = ()
    needs: Callable[[Settings], bool] = always

    @property
    def capability(self) -> str:
        """The one word that the capability has everywhere (`ssh` of `ssh-01`)."""
        return self.id.rpartition("-")[0]

    def claim(self, values: dict[str, str]) -> str:
        """The sentence about one stack; `values` come from `facts`."""
        return self.sentence.format(**values)

    def machines(self, inventory: Inventory, settings: Settings) -> tuple[Machine, ...]:
        """The machines on which it must be proven; none in a stack that it does not speak of."""
        if not self.needs(settings):
            return ()
        return tuple(machine for machine in inventory if machine.role in self.roles)


def count(number: int, one: str, many: str = "") -> str:
    """`1 person`, `2 people`, `no people`."""
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"


def join(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)
