"""What one member of etcd is told: its configuration, certificate and access, its upkeep, and how it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr

from bastide.authority import Authority
from bastide.layout.etcd import (
    CLIENT_PORT,
    CTL,
    DATA,
    ENVIRONMENT,
    FOLDER,
    FORMING,
    KEEP,
    LEAD,
    LEAD_SCRIPT,
    OWN_ENDPOINT,
    PEER_PORT,
    READ_OWN_ENDPOINT,
    SNAPSHOTS,
    UNIT,
    prefix,
)
from bastide.layout.updates import TURNS
from bastide.layout.wireguard import UNIT as MESH_UNIT
from bastide.machines import Machine
from bastide.secrets import Keyring
from bastide.settings import Etcd, Settings
from deploys.local_access import LocalAccess
from deploys.operations.files import File
from deploys.render import render

PACKAGES = ("etcd-client", "etcd-server", "nftables")
_OWN = f"$({READ_OWN_ENDPOINT})"
OWN_HEALTH = f"ETCDCTL_ENDPOINTS={_OWN} {CTL} endpoint health"
"""Whether this member sees a quorum: its answer needs one. Others may be away: a lost one is brought back like this."""
QUORUM_CHECK = f"[ ! -e {FOLDER}/join.env ] || [ -e {FORMING} ] || {OWN_HEALTH}"
"""What must hold before anything is done to the next machine, where there is a member already."""


@dataclass(frozen=True)
class Members:
    """What a machine must know: itself, and the mesh addresses of all that vote, by name. `mesh`: those of all
    machines; `volume`: its device, or "". On a machine that has no vote `name` is not among the addresses.
    `administers`: users and votes of all members are set up from here; `site`: Patroni is here, too; `leads`: it shall
    lead the members, since it stands at no site.
    """

    name: str
    stack: str
    addresses: dict[str, str]
    mesh: tuple[str, ...]
    administers: bool
    site: bool
    leads: bool
    volume: str = ""

    @property
    def votes(self) -> bool:
        """Whether this machine is one of them."""
        return self.name in self.addresses

    @property
    def address(self) -> str:
        """Its own."""
        return self.addresses[self.name]

    @property
    def endpoint(self) -> str:
        """Where its own clients come to."""
        return self.endpoints()[self.name]

    def endpoints(self) -> dict[str, str]:
        """Where each member's clients come to, by name."""
        return {name: f"https://{address}:{CLIENT_PORT}" for name, address in self.addresses.items()}

    def peers(self) -> dict[str, str]:
        """Where each member's fellows come to, by name."""
        return {name: f"https://{address}:{PEER_PORT}" for name, address in self.addresses.items()}


def members_of(settings: Settings, machine: Machine, stack: str) -> Members:
    """Those who vote as one machine sees them."""
    addresses = {name: settings.mesh[name] for name in settings.etcd_members}
    everybody = tuple(settings.mesh.values())
    return Members(
        machine.name,
        stack,
        addresses,
        everybody,
        administers=machine.name == settings.etcd_administrator,
        site=machine.name in settings.sites,
        leads=machine.role == "witness" and len(addresses) > 1,
        volume=machine.volume,
    )


def packages_of(members: Members) -> tuple[str, ...]:
    """On a site also what makes the account `postgres`: the rules of the guard name it."""
    if not members.votes:
        return ("nftables", "postgresql-common")
    # e2fsprogs: a volume that was made bigger is used to its end
    disk = ("e2fsprogs",) if members.volume else ()
    return (*PACKAGES, *disk, *(("postgresql-common",) if members.site else ()))


def local_access_of(members: Members) -> LocalAccess:
    """etcd's ports are for etcd, Patroni (as postgres) and root; the peers' too, though they ask for a certificate."""
    accounts = ["root", *(["etcd"] if members.votes else []), *(["postgres"] if members.site else [])]
    # all machines', whoever votes: the same rule before a vote moves and after it
    return LocalAccess("etcd", "etcd", (CLIENT_PORT, PEER_PORT), members.mesh, tuple(accounts))


def config_files(members: Members) -> tuple[File, ...]:
    """etcd's environment (etcd 3.5 manual, "Configuration options") and a drop-in to Debian's unit."""
    text = render(
        "etcd/etcd.j2",
        name=members.name,
        address=members.address,
        client_port=CLIENT_PORT,
        peer_port=PEER_PORT,
        folder=FOLDER,
        data=DATA,
    )
    return (
        File(ENVIRONMENT, text),
        File(
            f"/etc/systemd/system/{UNIT}.d/bastide.conf",
            render("etcd/bastide.conf.j2", folder=FOLDER, forming=FORMING, mesh_unit=MESH_UNIT),
        ),
    )


def authority_file(keyring: Keyring) -> File:
    """Whom members and clients trust."""
    return File(f"{FOLDER}/ca.crt", Authority(keyring, "etcd").trusted())


def certificate_files(members: Members, keyring: Keyring) -> tuple[File, ...]:
    """The member's own certificate; etcd reads it at each handshake, so a new one needs no restart."""
    own = Authority(keyring, "etcd").issue(
        members.name, datetime.now(UTC), dns=(members.name,), addresses=(members.address,)
    )
    return (
        File(f"{FOLDER}/server.crt", own.certificate),
        File(f"{FOLDER}/server.key", own.key, mode=0o400, owner="etcd", group="etcd"),
    )


def root_files(members: Members, keyring: Keyring) -> tuple[File, ...]:
    """How root on a machine comes in: `bastide-etcdctl` reads it."""
    endpoints = members.endpoints()
    text = render(
        "etcd/root.env.j2",
        own=members.endpoint,
        endpoints=[members.endpoint, *(url for name, url in endpoints.items() if name != members.name)],
        folder=FOLDER,
        password=root_password(keyring, keyring.newest),
    )
    # not among the files of the server: it must not go down for them
    return (
        File(CTL, render("etcd/bastide-etcdctl.j2", folder=FOLDER), mode=0o700),
        File(f"{FOLDER}/root.env", SecretStr(text), mode=0o600),
        File(OWN_ENDPOINT, f"{members.endpoint}\n"),
    )


def root_password(keyring: Keyring, version: str) -> str:
    """etcd's root password of one master."""
    return keyring.derive("etcd/root", version=version).hex()


def root_passwords(keyring: Keyring) -> list[str]:
    """The wanted one, then those of other masters, one of which may still be in force."""
    return [root_password(keyring, v) for v in [keyring.newest, *sorted(set(keyring.masters) - {keyring.newest})]]


def patroni_user(version: str) -> str:
    """A user for each master, so that Patroni moves from one to the next without a moment in which neither counts."""
    return f"patroni-{version}"


def patroni_password(keyring: Keyring, version: str) -> str:
    """Patroni's password of one master."""
    return keyring.derive("etcd/patroni", version=version).hex()


def join_plan(members: Members, keyring: Keyring, *, begins: bool, dismisses: bool) -> dict[str, object]:
    """What `deploys/remote/etcd.py` must know to bring a member in. Secret. `dismisses`: whether others may go."""
    return {
        "root": root_passwords(keyring),
        "dismisses": dismisses,
        "name": members.name,
        "peers": members.peers(),
        "endpoints": members.endpoints(),
        "begins": begins,
        "token": f"bastide-{members.stack}",
        "data": DATA,
        "env": f"{FOLDER}/join.env",
        "forming": FORMING,
        "ctl": CTL,
        "unit": UNIT,
    }


def leave_plan(members: Members) -> dict[str, object]:
    """What must end and go where somebody has no vote any more, and who has one.

    The folder goes last: it says that there was one.
    """
    units = [UNIT, *(f"{name}.{kind}" for name in (KEEP, LEAD) for kind in ("timer", "service"))]
    written = [LEAD_SCRIPT, *(f"/etc/systemd/system/{name}" for name in units[1:])]
    return {
        "peers": members.peers(),
        "units": units,
        "gone": [*written, f"{TURNS}/10-etcd", DATA, FORMING, SNAPSHOTS, CTL, FOLDER],
    }


def access_plan(members: Members, keyring: Keyring) -> dict[str, object]:
    """Users and passwords as they shall be, and root's earlier passwords to come in with. Secret."""
    return {
        "ctl": CTL,
        "root": root_passwords(keyring),
        "users": {patroni_user(v): patroni_password(keyring, v) for v in sorted(keyring.masters)},
        "prefix": prefix(members.stack),
    }


def timers(members: Members) -> list[str]:
    """The timers of one member."""
    return [f"{KEEP}.timer", *([f"{LEAD}.timer"] if members.leads else [])]


def upkeep_files(wanted: Etcd, members: Members) -> tuple[File, ...]:
    """A snapshot and a defragmentation a day; and on the witness, the leadership: see the reasons in the templates."""
    found: list[tuple[str, dict[str, object]]] = [
        (f"{KEEP}.service", {"days": wanted.snapshot_days, "own": members.endpoint}),
        (f"{KEEP}.timer", {"minute": 7 + 10 * list(members.addresses).index(members.name)}),
    ]
    if members.leads:
        found += [(f"{LEAD}.service", {}), (f"{LEAD}.timer", {})]
    units = [
        File(f"/etc/systemd/system/{name}", render(f"etcd/{name}.j2", ctl=CTL, unit=UNIT, **values))
        for name, values in found
    ]
    if members.leads:
        text = render("etcd/etcd-lead.j2", ctl=CTL, own=members.endpoint)
        units.append(File(LEAD_SCRIPT, text, mode=0o755))
    return tuple(units)
