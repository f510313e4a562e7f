"""The catalogue of controls: every sentence the security page may say, and for how long a proof of it counts.

Ids are stable and never reused. A sentence holds no adjective that is not a number or a fact of the stack file; its
`{placeholders}` are filled by `facts`. tests/verify proves a control (marker `control`), tests/rehearsal breaks it.
`claims` are row numbers of the project's list of claims that published security pages make.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bastide.errors import EvidenceError
from bastide.machines import Inventory, Machine
from bastide.settings import EU_LOCATIONS, Role, Settings

ALL_ROLES: tuple[Role, ...] = ("primary", "standby", "witness")
# A nightly run may fail to start once before the page loses a sentence about who can get in ...
_DAYS = timedelta(days=2)
# ... and what changes only by hand (where a machine stands, its clock and journal) is looked at once a week.
_WEEK = timedelta(days=8)

CAPABILITIES = {
    "site": "Where the servers stand",
    "users": "Who can log in",
    "ssh": "How they log in",
    "firewall": "What can be reached",
    "base": "How the machines are kept",
}
"""The words, in the order of the page, with the heading of each."""


@dataclass(frozen=True)
class Control:
    """One thing that is claimed, and what a proof of it is worth.

    `subject` names it without claiming anything (used when it is not proven), `sentence` is the claim, `why` says what
    a customer has from it. `max_age` is how old a proof may be.
    """

    id: str
    subject: str
    sentence: str
    why: str
    max_age: timedelta = _DAYS
    roles: tuple[Role, ...] = ALL_ROLES
    claims: tuple[int, ...] = ()

    @property
    def capability(self) -> str:
        """The one word that the capability has everywhere (`ssh` of `ssh-01`)."""
        return self.id.rpartition("-")[0]

    def claim(self, values: dict[str, str]) -> str:
        """The sentence about one stack; `values` come from `facts`."""
        return self.sentence.format(**values)

    def machines(self, inventory: Inventory) -> tuple[Machine, ...]:
        """The machines on which it must be proven."""
        return tuple(machine for machine in inventory if machine.role in self.roles)


CONTROLS: tuple[Control, ...] = (
    Control(
        "site-01",
        "Location of the servers",
        "All {machines} stand in the European Union: {places}.",
        "Where a server stands decides whose law applies to it. The provider's metadata service names the place.",
        max_age=_WEEK,
        claims=(113, 117),
    ),
    Control(
        "site-02",
        "Two countries",
        "The primary and the standby stand in two countries: {sites}.",
        "What takes down one data centre, or one country's network, does not take down the other.",
        max_age=_WEEK,
        roles=("primary", "standby"),
        claims=(95,),
    ),
    Control(
        "users-01",
        "Accounts",
        "Accounts that can log in: {people}, and one for automation. There are no others.",
        "Who can get in is written down in one place, and this compares it with the servers.",
        claims=(36, 37),
    ),
    Control(
        "users-02",
        "Keys",
        "The keys that open those accounts are exactly those in the stack file; root has none.",
        "A key that somebody added by hand turns this sentence off.",
        claims=(36, 43),
    ),
    Control(
        "users-03",
        "Administrator rights",
        "Administrator rights: {admins}, and the automation account. Nobody else may become root.",
        "The fewer can change a server, the fewer can be attacked for it.",
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
        "ssh-01",
        "Keys only",
        "Only keys open a session: every server refuses passwords, for every account.",
        "A guessed or leaked password opens nothing.",
        claims=(33,),
    ),
    Control(
        "ssh-02",
        "Root login",
        "Nobody can log in as root, not even with a valid key.",
        "Every session belongs to a named account.",
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
        "Guessing is slowed down. The operators' own addresses are spared, so that nobody locks them out.",
        claims=(33, 34),
    ),
    Control(
        "ssh-05",
        "Identity of the servers",
        "Every server shows the one host key that was recorded for it, and each connection insists on it.",
        "Somebody who stood between an operator and a server would show another key.",
        claims=(33,),
    ),
    Control(
        "firewall-01",
        "Open ports over IPv4",
        "Seen from the internet over IPv4, {ports}; ssh is open to {ssh_open}.",
        "What cannot be reached cannot be attacked.",
        claims=(15, 17),
    ),
    Control(
        "firewall-02",
        "Open ports over IPv6",
        "Seen from the internet over IPv6, {ports}; ssh is open to {ssh_open}.",
        "IPv6 is a second door that is easy to forget.",
        claims=(15, 17),
    ),
    Control(
        "firewall-03",
        "Each server's own firewall",
        "Each server also has a firewall of its own that refuses what is not named, for its neighbours too.",
        "The provider's firewall does not filter the private network; a break-in on one server must not open the next.",
        claims=(15, 17),
    ),
    Control(
        "firewall-04",
        "Metadata service",
        "The provider's metadata service answers root only; a service account on the server gets no answer.",
        "That service tells any program that asks what the server was set up with.",
        claims=(15,),
    ),
    Control(
        "base-01",
        "Clock",
        "Every server's clock is synchronised over the network.",
        "Times in logs can be compared.",
        max_age=_WEEK,
        claims=(39,),
    ),
    Control(
        "base-02",
        "System logs",
        "System logs are kept for at most {keep_days} days and {max_use} megabytes on each server.",
        "Old log data goes, and logs stop growing before the disk is full.",
        max_age=_WEEK,
        claims=(92,),
    ),
    Control(
        "base-03",
        "Names and time zone",
        "Every server carries its declared name and keeps time in {timezone}.",
        "A line in a log says which server wrote it and when.",
        max_age=_WEEK,
        claims=(39,),
    ),
)

_BY_ID = {control.id: control for control in CONTROLS}


def control(control_id: str) -> Control:
    """The control with this id. Raises `EvidenceError` when there is none."""
    if control_id not in _BY_ID:
        raise EvidenceError(f"there is no control {control_id}", f"known are {', '.join(_BY_ID)}")
    return _BY_ID[control_id]


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """The values that sentences are filled with, all from what is declared and what exists."""
    people = sorted(settings.users.people)
    admins = sorted(name for name, person in settings.users.people.items() if person.sudo)
    ports = sorted({(item.port, item.protocol) for item in settings.firewall.public})
    names = [f"{port}/{protocol}" for port, protocol in ports]
    sites = [machine for machine in inventory if machine.role != "witness"]
    return {
        "machines": count(len(inventory.machines), "server"),
        "places": join(_places(inventory.machines)),
        "sites": join(dict.fromkeys(EU_LOCATIONS[machine.location].country_name for machine in sites)),
        "people": count(len(people), "person", "people"),
        "admins": count(len(admins), "person", "people"),
        "removed": count(len(settings.users.removed), "person", "people"),
        "tries": str(settings.ssh.max_auth_tries),
        "grace": str(settings.ssh.login_grace_seconds),
        "ports": f"only {join(names)} can be reached" if names else "no port can be reached",
        "ssh_open": "the operators' networks only" if settings.ssh.open_to == "operators" else "any address",
        "keep_days": str(settings.base.journal.keep_days),
        "max_use": str(settings.base.journal.max_use_mb),
        "timezone": settings.base.timezone,
    }


def count(number: int, one: str, many: str = "") -> str:
    """`1 person`, `2 people`, `no people`."""
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"


def join(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


def _places(machines: Sequence[Machine]) -> list[str]:
    cities: dict[str, list[str]] = {}
    for machine in machines:
        place = EU_LOCATIONS[machine.location]
        if place.city not in cities.setdefault(place.country_name, []):
            cities[place.country_name].append(place.city)
    return [f"{country} ({join(sorted(names))})" for country, names in sorted(cities.items())]
