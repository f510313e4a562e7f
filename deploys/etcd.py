"""etcd on every machine: the voters that decide which Postgres leads: in the mesh only, over TLS, by password.

A member comes in one of two ways, told by what all machines of the run say of themselves: nobody has data of a cluster
yet, then all begin one together; or somebody has, then whoever has none joins it, in place of what it was before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr
from pyinfra.api.deploy import deploy

from bastide.authority import Authority
from bastide.doors import ETCD_CLIENT, ETCD_PEER
from bastide.machines import Machine
from bastide.secrets import Keyring
from bastide.settings import Etcd, Settings
from deploys.facts.machine import Question, ask, merged, this_host
from deploys.guards import Guard
from deploys.operations.accounts import no_login
from deploys.operations.etcd import access, join
from deploys.operations.files import File, files, files_question
from deploys.operations.packages import packages, packages_question
from deploys.operations.phase import phase
from deploys.operations.units import unit
from deploys.operations.volumes import volume, volume_question
from deploys.operations.wait import wait
from deploys.render import render

PACKAGES = ("etcd-client", "etcd-server", "nftables")
UNIT = "etcd.service"
FOLDER = "/etc/etcd"
HOME = "/var/lib/etcd"
DATA = f"{HOME}/bastide"
CTL = "/usr/local/sbin/bastide-etcdctl"
OWN_HEALTH = f"ETCDCTL_ENDPOINTS=$(sed -n 's/^# own: //p' {FOLDER}/root.env) {CTL} endpoint health"
"""Whether this member sees a quorum: its answer needs one. Others may be away: a lost one is brought back like this."""
FORMING = f"{HOME}/forming"
"""Beside a member's data, and lost with them, from its first start until it has heard a quorum: so long they are none
of a cluster. The unit takes it away."""
QUORUM_CHECK = f"[ ! -e {FOLDER}/join.env ] || [ -e {FORMING} ] || {OWN_HEALTH}"
"""What must hold before anything is done to the next machine, where there is a member already."""
_LEAD = "bastide-etcd-lead"
_KEEP = "bastide-etcd-keep"
# The first snapshot at once: the timer takes the next one at night. One member after the other, since each answers
# nobody for a moment; and only when it has caught up with the others: one that has not heard yet that passwords count
# would let this in without one, and then refuse it. On the witness the leadership comes first, which its timer would
# bring right now: who asks while it moves is told that the leader has changed.
_TIMERS = f"""\
systemctl daemon-reload && systemctl -q enable {{timers}} && systemctl restart {{timers}} || exit 1
[ ! -e /etc/systemd/system/{_LEAD}.service ] || systemctl start {_LEAD}.service || exit 1
ls /var/lib/bastide-etcd/snapshot-*.db >/dev/null 2>&1 && exit 0
problem=$({CTL} --endpoints={{own}} endpoint health 2>&1) &&
    systemctl start {_KEEP}.service || {{{{ echo "$problem" >&2; journalctl -qu {_KEEP} -n 5 -o cat >&2; exit 1; }}}}
"""


@dataclass(frozen=True)
class Voters:
    """What a member must know: itself, and all members' mesh addresses by name. `volume`: its device, or ""."""

    name: str
    stack: str
    addresses: dict[str, str]
    witness: bool
    volume: str = ""

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
        return {name: f"https://{address}:{ETCD_CLIENT}" for name, address in self.addresses.items()}

    def peers(self) -> dict[str, str]:
        """Where each member's fellows come to, by name."""
        return {name: f"https://{address}:{ETCD_PEER}" for name, address in self.addresses.items()}


def voters_of(settings: Settings, machine: Machine, stack: str) -> Voters:
    """The members as one of them sees them."""
    addresses = {name: settings.mesh[name] for name in settings.voters}
    return Voters(machine.name, stack, addresses, machine.role == "witness", machine.volume)


@deploy("etcd")
def etcd(wanted: Etcd, voters: Voters, keyring: Keyring, begins: bool) -> None:
    """`begins`: whether there is no cluster yet, so that one is begun (see deploys/claims.py)."""
    guard, restart = guard_of(voters), _restart(voters)
    seen = ask(this_host(), **question(wanted, voters, keyring))
    runs = seen["etcd"]["data"] and seen["etcd"]["active"]
    # before the packages: etcd's starts it when it is installed, and PostgreSQL's begin a cluster of their own
    if not runs:
        files(name="how it runs", name_="etcd", wanted=config_files(voters), settle=restart)
    packages(name="packages", names=packages_of(voters))
    if not voters.witness:
        no_login(name="account of the database's packages", account="postgres")
    files(
        name="closed to other accounts",
        name_="etcd-guard",
        wanted=guard.files(),
        settle=guard.settle(),
        drift=guard.drift(seen),
    )
    if voters.volume:
        # a Postgres that fills the disk takes no vote away
        volume(name="volume", name_="etcd", device=voters.volume, path=HOME, owner="etcd", group="etcd", mode=0o700)
    # the authorities first, on every machine: what is signed by a new one must be trusted before it is shown
    files(name="authority", name_="etcd-ca", wanted=(authority_file(keyring),), settle=restart, _serial=True)
    files(name="certificate", name_="etcd-certificate", wanted=certificate_files(voters, keyring))
    files(name="root's access", name_="etcd-root", wanted=root_files(voters, keyring))
    phase(name="every voter is ready to begin")
    if begins:
        join(name="begin the cluster", plan=join_plan(voters, begins=True))
    else:
        join(name="join the cluster", plan=join_plan(voters, begins=False), _serial=True)
    wait(
        name="voters agree",
        until=OWN_HEALTH,
        seconds=60,
        unless=f"systemctl -q is-failed {UNIT}",
        for_what=f"a quorum of {UNIT} on {', '.join(voters.addresses)}",
        seen=seen["etcd"]["healthy"],
    )
    phase(name="every voter is in")
    # one that runs goes down for a change only now, when one that was lost is back: two of three must vote
    if runs:
        files(
            name="how it runs from now on",
            name_="etcd",
            wanted=config_files(voters),
            settle=restart,
            _serial=True,
        )
    if voters.witness:
        access(name="users and passwords", plan=access_plan(voters, keyring))
    unit(name="server", name_=UNIT, state="running")
    files(
        name="upkeep",
        name_="etcd-upkeep",
        wanted=upkeep_files(wanted, voters),
        settle=_TIMERS.format(timers=" ".join(timers(voters)), own=voters.endpoint),
        _serial=True,
    )


def _restart(voters: Voters) -> str:
    """Let a member that runs take up what is new; one that does not run is started by what follows.

    It goes down only while all others are well: two of three must vote at any moment.
    """
    others = " ".join(url for url in voters.endpoints().values() if url != voters.endpoint)
    return f"""\
systemctl daemon-reload
systemctl -q is-active {UNIT} || exit 0
for other in {others}; do
    ETCDCTL_ENDPOINTS=$other {CTL} endpoint health >/dev/null 2>&1 ||
        {{ echo "the voter at $other is not well: this one must not go down now" >&2; exit 1; }}
done
systemctl restart {UNIT} && for try in $(seq 50); do
    ETCDCTL_ENDPOINTS={voters.endpoint} {CTL} endpoint health >/dev/null 2>&1 && exit 0
    sleep 0.2
done
echo "the voter is not well after its restart" >&2; exit 1
"""


def question(wanted: Etcd, voters: Voters, keyring: Keyring) -> Question:
    """All that this capability will ask a machine."""
    written = (
        *config_files(voters),
        authority_file(keyring),
        *certificate_files(voters, keyring),
        *root_files(voters, keyring),
        *upkeep_files(wanted, voters),
    )
    return merged(
        packages_question(packages_of(voters)),
        files_question(written),
        guard_of(voters).question(),
        volume_question("etcd", voters.volume, HOME) if voters.volume else {},
        {"units": [UNIT], "etcd": _asked(voters)},
        {} if voters.witness else {"accounts": ["postgres"]},
    )


def packages_of(voters: Voters) -> tuple[str, ...]:
    """On a site also what makes the account `postgres`: the rules of the guard name it."""
    return PACKAGES if voters.witness else (*PACKAGES, "postgresql-common")


def _asked(voters: Voters) -> dict[str, object]:
    """What the area `etcd` of deploys/remote/look_cluster.py is told. Who may come in is the witness's to see to."""
    return {
        "data": DATA,
        "forming": FORMING,
        "health": f"{voters.endpoint}/health",
        "folder": FOLDER,
        "ctl": CTL if voters.witness else "",
    }


def guard_of(voters: Voters) -> Guard:
    """etcd's ports are for etcd, Patroni (as postgres) and root; the peers' too, though they ask for a certificate."""
    accounts = ("root", "etcd") if voters.witness else ("root", "etcd", "postgres")
    return Guard("etcd", "etcd", (ETCD_CLIENT, ETCD_PEER), tuple(voters.addresses.values()), accounts)


def config_files(voters: Voters) -> tuple[File, ...]:
    """etcd's environment (etcd 3.5 manual, "Configuration options") and a drop-in to Debian's unit."""
    text = render(
        "etcd/etcd.j2",
        name=voters.name,
        address=voters.address,
        client_port=ETCD_CLIENT,
        peer_port=ETCD_PEER,
        folder=FOLDER,
        data=DATA,
    )
    return (
        File("/etc/default/etcd", text),
        File(
            f"/etc/systemd/system/{UNIT}.d/bastide.conf",
            render("etcd/bastide.conf.j2", folder=FOLDER, forming=FORMING, mesh_unit="wg-quick@wg0.service"),
        ),
    )


def authority_file(keyring: Keyring) -> File:
    """Whom members and clients trust."""
    return File(f"{FOLDER}/ca.crt", Authority(keyring, "etcd").trusted())


def certificate_files(voters: Voters, keyring: Keyring) -> tuple[File, ...]:
    """The member's own certificate; etcd reads it at each handshake, so a new one needs no restart."""
    own = Authority(keyring, "etcd").issue(
        voters.name, datetime.now(UTC), dns=(voters.name,), addresses=(voters.address,)
    )
    return (
        File(f"{FOLDER}/server.crt", own.certificate),
        File(f"{FOLDER}/server.key", own.key, mode=0o400, owner="etcd", group="etcd"),
    )


def root_files(voters: Voters, keyring: Keyring) -> tuple[File, ...]:
    """How root on a machine comes in: `bastide-etcdctl` reads it."""
    endpoints = voters.endpoints()
    text = render(
        "etcd/root.env.j2",
        own=voters.endpoint,
        endpoints=[voters.endpoint, *(url for name, url in endpoints.items() if name != voters.name)],
        folder=FOLDER,
        password=root_password(keyring, keyring.newest),
    )
    # not among the files of the server: it must not go down for them
    return (
        File(CTL, render("etcd/bastide-etcdctl.j2", folder=FOLDER), mode=0o700),
        File(f"{FOLDER}/root.env", SecretStr(text), mode=0o600),
    )


def root_password(keyring: Keyring, version: str) -> str:
    """etcd's root password of one master."""
    return keyring.derive("etcd/root", version=version).hex()


def patroni_user(version: str) -> str:
    """A user for each master, so that Patroni moves from one to the next without a moment in which neither counts."""
    return f"patroni-{version}"


def patroni_password(keyring: Keyring, version: str) -> str:
    """Patroni's password of one master."""
    return keyring.derive("etcd/patroni", version=version).hex()


def prefix(stack: str) -> str:
    """The keys that Patroni may read and write."""
    return f"/bastide/{stack}/"


def join_plan(voters: Voters, *, begins: bool) -> dict[str, object]:
    """What `deploys/remote/etcd.py` must know to bring a member in."""
    return {
        "name": voters.name,
        "peers": voters.peers(),
        "endpoints": voters.endpoints(),
        "begins": begins,
        "token": f"bastide-{voters.stack}",
        "data": DATA,
        "env": f"{FOLDER}/join.env",
        "forming": FORMING,
        "ctl": CTL,
        "unit": UNIT,
    }


def access_plan(voters: Voters, keyring: Keyring) -> dict[str, object]:
    """Users and passwords as they shall be, and root's earlier passwords to come in with. Secret."""
    return {
        "ctl": CTL,
        "root": [root_password(keyring, v) for v in [keyring.newest, *sorted(set(keyring.masters) - {keyring.newest})]],
        "users": {patroni_user(v): patroni_password(keyring, v) for v in sorted(keyring.masters)},
        "prefix": prefix(voters.stack),
    }


def timers(voters: Voters) -> list[str]:
    """The timers of one member."""
    return [f"{_KEEP}.timer", *([f"{_LEAD}.timer"] if voters.witness else [])]


def upkeep_files(wanted: Etcd, voters: Voters) -> tuple[File, ...]:
    """A snapshot and a defragmentation a day; and on the witness, the leadership: see the reasons in the templates."""
    found: list[tuple[str, dict[str, object]]] = [
        (f"{_KEEP}.service", {"days": wanted.snapshot_days, "own": voters.endpoint}),
        (f"{_KEEP}.timer", {"minute": 7 + 10 * list(voters.addresses).index(voters.name)}),
    ]
    if voters.witness:
        found += [(f"{_LEAD}.service", {}), (f"{_LEAD}.timer", {})]
    units = [
        File(f"/etc/systemd/system/{name}", render(f"etcd/{name}.j2", ctl=CTL, unit=UNIT, **values))
        for name, values in found
    ]
    if voters.witness:
        text = render("etcd/etcd-lead.j2", ctl=CTL, own=voters.endpoint)
        units.append(File("/usr/local/lib/bastide/etcd-lead", text, mode=0o755))
    return tuple(units)
