"""What a sabotage is, and the ways to break a machine that several capabilities share."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bastide.machines import Inventory
from bastide.settings import Settings
from bastide.windows import windows

# where a sabotage may be done, the machine first on which it is done alone
ANY = ("standby", "primary", "witness")
STANDBY, PRIMARY, WITNESS = ("standby",), ("primary",), ("witness",)
# a public key whose private part was never kept
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEVVB8Ak6bPd3q8FfLk0n7z2WbqWnS2N0y5bT0i3QH1c sabotage"
RELOAD = "sshd -t && systemctl reload ssh"
# a certificate of an authority that nobody knows, on standard output
ANOTHER_AUTHORITY = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=sabotage -days 1"
    " 2>/dev/null"
)
# the file that sshd really reads for an account, and a key added to it
KEY_FILE = (
    "keys() {{ home=$(getent passwd $1 | cut -d: -f6); sshd -T | sed -n 's/^authorizedkeysfile //p' | cut -d' ' -f1"
    ' | sed "s,%u,$1,;s,%h,$home,;s,^[^/],$home/&,"; }}'
)
# what sabotages of several capabilities touch: the rules of a machine's firewall, which are saved, changed, and all put
# back; and what all members of a database cluster share, which Patroni keeps in etcd
NFT, SHARED = "nft", "shared settings"
SAVE_RULES = "nft -s list ruleset > /run/sabotage.nft"
LOAD_RULES = "( echo flush ruleset; cat /run/sabotage.nft ) | nft -f - && rm /run/sabotage.nft"


Json = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """A call of the provider's API. `{zone}`, `{stack}` and `{standby.address}` are filled in, in path and body."""

    method: str
    path: str
    body: Json | None = None

    def filled(self, settings: Settings, inventory: Inventory) -> Order:
        """The call for one stack."""
        zone = next(iter(settings.dns.zones)) if settings.dns else ""
        values = {"zone": zone, "stack": inventory.stack, **{machine.name: machine for machine in inventory}}
        return Order(self.method, self.path.format(**values), _filled(self.body, values))


@dataclass(frozen=True)
class Sabotage:
    """One wrong way.

    `says` is a part of what its check must give as the reason: red for another reason is not caught. `opened` are rules
    added to the provider's firewall for as long as it lasts; `orders` are given to the provider, `taken_back` undoes
    them; `bucket` changes the first bucket (S3 client, name) and returns what puts it back; with `plain` it is given
    a bucket without versions instead, which is made and declared for as long as it lasts.

    Many are done at once (`rounds.py`). For that: `machines` on which it may be done; `touches` names what it uses up
    on its machine, `everywhere` what it uses up on all of them: a file, a unit, or the reason that another one has to
    give. Two that touch the same are never done together. `alone` says why it bears no other beside it. `then` makes a
    program read what was changed: once, after all that change something for it.
    """

    control: str
    what: str
    says: str
    break_: str
    undo: str
    machines: tuple[str, ...] = ANY
    touches: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    alone: str = ""
    then: str = "true"
    opened: tuple[dict[str, Any], ...] = ()
    orders: tuple[Order, ...] = ()
    taken_back: tuple[Order, ...] = ()
    bucket: Callable[[Any, str], Callable[[], object]] | None = None
    plain: bool = False

    @property
    def name(self) -> str:
        """How pytest and the table call it."""
        return f"{self.control}: {self.what}"

    @property
    def machine(self) -> str:
        """The machine on which it is done."""
        return self.machines[0]

    def on(self, machine: str) -> Sabotage:
        """The same on this machine and no other."""
        return replace(self, machines=(machine,))

    def scripts(self, settings: Settings) -> tuple[str, str]:
        """Breaking and undoing, for these settings."""
        people = settings.users.people
        values = {
            "person": next(name for name, person in people.items() if not person.sudo),
            "removed": settings.users.removed[0],
            "automation": settings.users.automation.name,
            "automation_key": settings.users.automation.key,
            "verifier": settings.users.verification.name if settings.users.verification else "",
            "network": settings.network.range,
            "timezone": settings.base.timezone,
            **self._mesh(settings),
            **self._databases(settings),
            "first_reboot": next(iter(windows(settings).values())).reboot,
        }
        return self.break_.format(**values), self.undo.format(**values)

    @staticmethod
    def _databases(settings: Settings) -> dict[str, str]:
        """The first database, and a role of it that does not own it."""
        databases = settings.postgres.databases if settings.postgres else {}
        guests = (
            (name, role) for name, one in databases.items() for role, right in one.roles.items() if right != "owner"
        )
        return dict(zip(("database", "role"), next(guests, ("", "")), strict=True))

    @staticmethod
    def _mesh(settings: Settings) -> dict[str, str]:
        """What there is to know of the mesh; nobody has its last but one address."""
        if settings.wireguard is None:
            return {}
        primary = next(iter(settings.by_role("primary")))
        return {
            "mesh": settings.wireguard.range,
            "mesh_port": str(settings.wireguard.port),
            "mesh_primary": settings.mesh[primary],
            "private_primary": settings.made[primary].private_address if primary in settings.made else "",
            "mesh_stranger": str(ipaddress.IPv4Network(settings.wireguard.range)[-3]),
        }


def _filled(value: Any, values: Mapping[str, object]) -> Any:
    """Every text in a JSON value with its names filled in."""
    if isinstance(value, str):
        return value.format(**values)
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    return {key: _filled(item, values) for key, item in value.items()} if isinstance(value, dict) else value


def early(control: str) -> str:
    """A drop-in for one control. It sorts before the platform's own, and sshd takes the first value."""
    return f"/etc/ssh/sshd_config.d/00-a-sabotage-{control}.conf"


def sshd_says(
    control: str, what: str, says: str, lines: str, *, touches: tuple[str, ...] = (), alone: str = ""
) -> Sabotage:
    """A drop-in that sshd reads before the platform's."""
    file = early(control)
    return Sabotage(
        control, what, says, f"printf '%s\\n' '{lines}' > {file}", f"rm -f {file}", then=RELOAD, touches=touches,
        alone=alone,
    )  # fmt: skip


def changed_rules(
    control: str, what: str, says: str, commands: str, *, touches: tuple[str, ...] = (), machines: tuple[str, ...] = ANY
) -> Sabotage:
    """Changed rules of the machine's own firewall."""
    break_ = f"{SAVE_RULES} && {commands}"
    return Sabotage(control, what, says, break_, LOAD_RULES, machines=machines, touches=(NFT, *touches))
