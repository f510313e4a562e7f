"""What one member of etcd is told: its configuration, certificate and access, its upkeep, and how it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr

from bastide.authority import Authority
from bastide.layout.etcd import (
    CLIENT_AUTHORITY,
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
    PEER_AUTHORITY,
    PEER_CERTIFICATE,
    PEER_PORT,
    READ_OWN_ENDPOINT,
    ROOT_ACCESS,
    SNAPSHOTS,
    UNIT,
    prefix,
)
from bastide.layout.sandbox import ETCD, ETCD_KEEP, ETCD_LEAD
from bastide.layout.updates import TURNS
from bastide.layout.wireguard import UNIT as MESH_UNIT
from bastide.machines import Machine
from bastide.secrets import Keyring
from bastide.settings import Etcd, Settings
from deploys.local_access import LocalAccess
from deploys.operations.files import File
from deploys.render import render
from deploys.sandboxed import drop_in, unit_file

PACKAGES = ("curl", "etcd-client", "etcd-server", "nftables")


def health(endpoint: str) -> str:
    """The shell command that ends with 0 when a member sees a quorum, without which it has no answer (etcd 3.5 manual,
    "Monitoring"): it asks for a certificate and no password."""
    own = f"--cacert {CLIENT_AUTHORITY} --cert {FOLDER}/server.crt --key {FOLDER}/server.key"
    return f"curl -sSf -m 5 -o /dev/null {own} {endpoint}/health"


OWN_HEALTH = health(f"$({READ_OWN_ENDPOINT})")
"""Whether this member sees a quorum. Others may be away: a lost one is brought back like this."""
QUORUM_CHECK = f"[ ! -e {FOLDER}/join.env ] || [ -e {FORMING} ] || {OWN_HEALTH}"
"""What must hold before anything is done to the next machine, where there is a member already."""


@dataclass(frozen=True)
class Members:
    """What a machine must know: itself, and the mesh addresses of all that vote, by name. `mesh`: those of all
    machines; `volume`: its device, or "". On a machine that has no vote `name` is not among the addresses.
    `administers`: users and votes of all members are set up from here; `site`: Patroni is here, too; `leader`: which
    member shall lead them, since it stands at no site, or "".
    """

    name: str
    stack: str
    addresses: dict[str, str]
    mesh: tuple[str, ...]
    administers: bool
    site: bool
    leader: str
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
        leader=next((name for name in settings.by_role("witness") if name in addresses and len(addresses) > 1), ""),
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
        drop_in(
            ETCD, render("etcd/bastide.conf.j2", folder=FOLDER, forming=FORMING, mesh_unit=MESH_UNIT, sandbox=ETCD)
        ),
    )


def authority_files(keyring: Keyring, *, apart: bool) -> tuple[File, ...]:
    """Whom members trust as a client, and whom as one of them. Until all show each other what is for members alone
    (`apart`) either is trusted for both: what a member shows must be trusted by all before it shows it."""
    clients, peers = (Authority(keyring, purpose).trusted() for purpose in ("etcd", "etcd-peers"))
    if not apart:
        clients = peers = clients + peers
    return File(CLIENT_AUTHORITY, clients), File(PEER_AUTHORITY, peers)


def certificate_files(members: Members, keyring: Keyring) -> tuple[File, ...]:
    """What the member shows to clients, and to other members, who also compare it with where it comes from; etcd reads
    them at each handshake, so new ones need no restart."""
    at, names, addresses = datetime.now(UTC), (members.name,), (members.address,)
    own = Authority(keyring, "etcd").issue(members.name, at, dns=names, addresses=addresses)
    peer = Authority(keyring, "etcd-peers").issue(members.name, at, dns=names, addresses=addresses)
    return (
        File(f"{FOLDER}/server.crt", own.certificate),
        File(f"{FOLDER}/server.key", own.key, mode=0o400, owner="etcd", group="etcd"),
        File(PEER_CERTIFICATE, peer.certificate),
        File(f"{FOLDER}/peer.key", peer.key, mode=0o400, owner="etcd", group="etcd"),
    )


def tool_files(members: Members, keyring: Keyring) -> tuple[File, ...]:
    """How root on a machine speaks to etcd: as etcd's root where databases are, else as nobody. `bastide-etcdctl` reads
    them."""
    endpoints = members.endpoints()
    text = render(
        "etcd/client.env.j2",
        endpoints=[members.endpoint, *(url for name, url in endpoints.items() if name != members.name)],
        folder=FOLDER,
    )
    root = render("etcd/root.env.j2", password=root_password(keyring, keyring.newest))
    # not among the files of the server: it must not go down for them
    return (
        File(CTL, render("etcd/bastide-etcdctl.j2", folder=FOLDER, root=ROOT_ACCESS), mode=0o700),
        File(f"{FOLDER}/client.env", text),
        File(ROOT_ACCESS, SecretStr(root) if members.site else None, mode=0o600),
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
        # who begins a cluster finds nobody who asks for one
        "root": [] if begins else root_passwords(keyring),
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
        "health": health(members.endpoint),
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
    """The timers of one member: none on a machine that only votes, since what they do takes etcd's root."""
    if not members.site:
        return []
    return [f"{KEEP}.timer", *([f"{LEAD}.timer"] if members.leader else [])]


def upkeep_files(wanted: Etcd, members: Members) -> tuple[File, ...]:
    """A snapshot and a defragmentation a day, and the leadership, which a site gives to the witness: see the reasons in
    the templates. For a machine that only votes a site sees to it."""
    values = {
        "ctl": CTL,
        "unit": UNIT,
        "days": wanted.snapshot_days,
        "own": members.endpoint,
        "others": [members.endpoints()[members.leader]] if members.administers and members.leader else [],
        "minute": 7 + 10 * list(members.addresses).index(members.name),
    }
    found = timers(members)
    units = [
        (f"{name}.{kind}", sandbox)
        for name, sandbox in ((KEEP, ETCD_KEEP), (LEAD, ETCD_LEAD))
        for kind in ("service", "timer")
    ]
    written = []
    for unit, sandbox in units:
        if f"{unit.partition('.')[0]}.timer" not in found:
            written.append(File(f"/etc/systemd/system/{unit}", None))
            continue
        text = render(f"etcd/{unit}.j2", sandbox=sandbox, **values)
        is_service = unit == sandbox.unit
        written.append(unit_file(sandbox, text) if is_service else File(f"/etc/systemd/system/{unit}", text))
    script = None
    if f"{LEAD}.timer" in found:
        leader = members.endpoints()[members.leader]
        script = render("etcd/etcd-lead.j2", ctl=CTL, own=members.endpoint, leader=leader, health=health(leader))
    return (*written, File(LEAD_SCRIPT, script, mode=0o755))
