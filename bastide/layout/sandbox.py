"""What each service may do on a machine: its unit says it to systemd, and checks hold against it what runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bastide.layout import alerts, etcd, fail2ban, postgres
from bastide.settings import Settings

LISTENS, OTHER = 2.5, 4.0
"""At most this much of what `systemd-analyze security` calls exposure, of 10: for what listens, and for the rest."""
_INET, _NETLINK, _UNIX = ("AF_INET", "AF_INET6"), "AF_NETLINK", "AF_UNIX"


@dataclass(frozen=True)
class Sandbox:
    """What one unit may.

    `account` runs it; `capabilities` of root's (capabilities(7)) are all that it may ever hold; `families` are those of
    sockets that it may make (address_families(7)); it may write below `writes` and to temporary files of its own;
    `calls` are let through besides systemd's own list for services. `runs`: always, and not now and then. `compiles`:
    it makes code while it runs, which the others may not.
    """

    unit: str
    what: str
    account: str = "root"
    capabilities: tuple[str, ...] = ()
    families: tuple[str, ...] = (*_INET, _UNIX)
    writes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    exposure: float = OTHER
    runs: bool = True
    compiles: bool = False


ETCD = Sandbox(etcd.UNIT, "etcd", etcd.ACCOUNT, writes=(etcd.HOME,), exposure=LISTENS)
# the key that they show is the member's own, which root reads by this right alone
_KEY = ("CAP_DAC_READ_SEARCH",)
ETCD_KEEP = Sandbox(f"{etcd.KEEP}.service", "etcd's snapshots", capabilities=_KEY, writes=(etcd.SNAPSHOTS,), runs=False)
ETCD_LEAD = Sandbox(f"{etcd.LEAD}.service", "etcd's leadership", capabilities=_KEY, runs=False)
# All of PostgreSQL is Patroni's children, the programs that a superuser runs by it (COPY ... TO PROGRAM) as well. LLVM
# compiles expensive queries; where it may not, a query that is to be compiled ends its session.
PATRONI = Sandbox(
    postgres.UNIT,
    "PostgreSQL",
    postgres.ACCOUNT,
    writes=(postgres.HOME, postgres.SOCKETS),
    exposure=LISTENS,
    compiles=True,
)
# Debian's starts as root, and gives that up itself
ROUTER = Sandbox(
    postgres.ROUTER_UNIT, "HAProxy", postgres.ROUTER_ACCOUNT, writes=(postgres.ROUTER_FOLDER,), exposure=LISTENS
)
POOL = Sandbox(postgres.POOL_UNIT, "PgBouncer", postgres.POOL_ACCOUNT, exposure=LISTENS)
ALERTS = Sandbox(alerts.UNIT, "alerts", alerts.ACCOUNT, writes=("/var/lib/bastide-alerts",), exposure=LISTENS)
# Without a mesh others are only pinged: not every kernel lets an account without a right do that. ping(8) gives up what
# it does not need, and is killed where it may not.
PINGS = replace(ALERTS, capabilities=("CAP_NET_RAW",), calls=("capset", "@setuid"))
# it changes the kernel's rules (nft, over netlink); root's files, its database among them, it reads as their owner
FAIL2BAN = Sandbox(
    fail2ban.UNIT,
    "fail2ban",
    capabilities=("CAP_NET_ADMIN",),
    families=(*_INET, _UNIX, _NETLINK),
    writes=("/var/lib/fail2ban", "/run/fail2ban"),
)
# Debian's, and of no capability: nothing else sees to these
PACKAGES_KEEP = Sandbox(
    "dpkg-db-backup.service",
    "dpkg's backups",
    families=(_UNIX,),
    writes=("/var/backups",),
    calls=("@chown",),
    runs=False,
)
DEBIANS = (PACKAGES_KEEP,)

WITHOUT = {
    "bastide-firewall.service": "it loads the rules that decide who comes in, before there is anything to be closed",
    "bastide-etcd-guard.service": "as the firewall",
    "bastide-postgres-guard.service": "as the firewall",
    "bastide-reboot.service": "it reboots the machine, and has other services run what is installed",
    "bastide-updates.service": "it asks other services what they run, which takes all of root's rights",
}
"""Units of ours, and drop-ins of Debian's, that no sandbox holds: why."""

_SESSIONS = "it starts people's sessions, which may do what their accounts may"
_PACKAGES = "it installs packages, whose scripts change everything"
_DISKS = "it looks after file systems, by their devices"
DEBIANS_WITHOUT = {
    "ssh.service": _SESSIONS,
    "cron.service": _SESSIONS,
    "getty@.service": _SESSIONS,
    "serial-getty@.service": _SESSIONS,
    "user@.service": _SESSIONS,
    "apt-daily.service": _PACKAGES,
    "apt-daily-upgrade.service": _PACKAGES,
    "unattended-upgrades.service": f"{_PACKAGES}, when the machine goes down",
    "wg-quick@.service": "it makes the mesh's links, routes and rules, which last; a restart cuts off who is in by it",
    "dbus.service": "all that is asked of the system's services goes by it; a restart ends them, and people's sessions",
    "systemd-journald.service": "systemd's own list, 4.9 of 10: it reads what every process is, to write it down",
    "systemd-udevd.service": "it makes devices, and runs what packages say for them",
    "systemd-tmpfiles-clean.service": "it clears folders of every account, by what packages say",
    "logrotate.service": "it runs what packages say for their logs, as every account",
    "fstrim.service": _DISKS,
    "e2scrub_all.service": _DISKS,
    "e2scrub_reap.service": _DISKS,
    "cloud-init-main.service": "it makes the machine what it is, at its first boot",
}
"""Services of Debian's that no drop-in of ours holds: why."""
AS_SHIPPED = (
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "systemd-logind.service",
    "systemd-hostnamed.service",
)
"""Services of systemd's that are within the limit as they come; not every machine has all of them."""


def sandboxes(settings: Settings, machine: str) -> tuple[Sandbox, ...]:
    """What a machine has of them, in the order of the page."""
    members = settings.etcd_members
    votes, site = machine in members, settings.postgres is not None and machine in settings.sites
    led = len(members) > 1 and any(name in members for name in settings.by_role("witness"))
    found = {
        ETCD: votes,
        ETCD_KEEP: votes and site,
        ETCD_LEAD: votes and site and led,
        PATRONI: site,
        ROUTER: site,
        POOL: site,
        FAIL2BAN: True,
        ALERTS if settings.wireguard or len(settings.servers) == 1 else PINGS: settings.alerts is not None,
        **dict.fromkeys(DEBIANS, True),
    }
    return tuple(one for one, here in found.items() if here)
