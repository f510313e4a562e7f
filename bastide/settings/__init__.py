"""What is wanted: one frozen model, a module an area. Defaults live here and nowhere else."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import Field, model_validator

from bastide.settings import rules
from bastide.settings.accounts import Accounts
from bastide.settings.alerts import Alerts, Heartbeat, Mail
from bastide.settings.base import Base, Journal
from bastide.settings.common import Area, Mistakes, Name, key_blob
from bastide.settings.company import Company
from bastide.settings.dns import Dns, RecordSet, Zone
from bastide.settings.etcd import Etcd
from bastide.settings.evidence import EvidenceArea
from bastide.settings.fail2ban import Fail2ban
from bastide.settings.firewall import Firewall, PublicPort
from bastide.settings.kernel import Kernel
from bastide.settings.lab import Lab
from bastide.settings.network import Network
from bastide.settings.postgres import Database, Postgres
from bastide.settings.servers import EU_LOCATIONS, AnyServer, ExistingServer, Location, Provider, Role, Server
from bastide.settings.ssh import Ssh
from bastide.settings.storage import Bucket, Storage
from bastide.settings.updates import Reboot, Source, Updates
from bastide.settings.users import Automation, Person, Users, Verification
from bastide.settings.wireguard import Administrator, Wireguard

__all__ = [
    "EU_LOCATIONS",
    "Accounts",
    "Administrator",
    "Alerts",
    "AnyServer",
    "Area",
    "Automation",
    "Base",
    "Bucket",
    "Company",
    "Database",
    "Dns",
    "Etcd",
    "EvidenceArea",
    "ExistingServer",
    "Fail2ban",
    "Firewall",
    "Heartbeat",
    "Journal",
    "Kernel",
    "Lab",
    "Location",
    "Mail",
    "Network",
    "Person",
    "Postgres",
    "Provider",
    "PublicPort",
    "Reboot",
    "RecordSet",
    "Role",
    "Server",
    "Settings",
    "Source",
    "Ssh",
    "Storage",
    "Updates",
    "Users",
    "Verification",
    "Wireguard",
    "Zone",
    "key_blob",
]


# every machine's name for itself, the outside machine of lab and checks, pyinfra's group of all hosts
_TAKEN = {"localhost", "prober", "all"}
_RISKY: tuple[Role, ...] = ("witness", "standby", "primary")


class Settings(Area):
    """Everything a stack file says under `bastide:settings`."""

    company: Company
    """Who publishes the security page."""
    servers: Annotated[dict[Name, AnyServer], Field(min_length=1)]
    """The machines by name; the name is also the host name."""
    network: Network = Network()
    """The private network over all locations."""
    firewall: Firewall
    """What may reach the machines, in the cloud firewall and in each machine's own. What is not opened is closed."""
    base: Base = Base()
    """What every machine has."""
    users: Users
    """Who can log in."""
    wireguard: Wireguard | None = None
    """The encrypted mesh between the machines; leave it out for none."""
    etcd: Etcd = Etcd()
    """The voters that decide which Postgres leads; nothing without settings.postgres."""
    postgres: Postgres | None = None
    """The database cluster over both sites; leave it out for none. It needs settings.wireguard."""
    ssh: Ssh = Ssh()
    """How people and machines log in. Keys only, root off and strong algorithms are not settings; these are."""
    accounts: Accounts = Accounts()
    """What holds for each account and session, whoever it is."""
    fail2ban: Fail2ban = Fail2ban()
    """When an address that fails to log in is dropped, and for how long."""
    kernel: Kernel = Kernel()
    """What the kernel is told otherwise than the platform does by itself."""
    dns: Dns | None = None
    """Zones at the provider's name servers, and reverse names; leave it out when others keep your DNS."""
    updates: Updates = Updates()
    """Unattended upgrades, and reboots one machine at a time."""
    alerts: Alerts | None = None
    """Who hears of what needs attention; leave it out for nobody. Its password and URLs: bastide:secrets.alerts."""
    storage: Storage | None = None
    """Buckets at an object storage; leave it out for none. Its keys are secrets: bastide:secrets.storage."""
    protection: bool = True
    """Whether servers, addresses, network and buckets refuse to be deleted. To destroy: false, `pulumi up`, destroy."""
    evidence: EvidenceArea = EvidenceArea()
    """Whose word the proofs are."""
    lab: Lab | None = None
    """With this key the stack lives in the local cloud on this machine; leave it out for the real one."""

    @model_validator(mode="after")
    def _platform(self) -> Self:
        """Rules between servers: one primary; standbys in another country; a witness in a location of its own."""
        problems = [*rules.roles(self), *rules.addresses(self), *rules.people(self)]
        problems += [
            f"servers.{name}: is taken by something else; choose another name" for name in _TAKEN & set(self.servers)
        ]
        taken = {(port.protocol, port.port) for port in self.firewall.public}
        if len(taken) != len(self.firewall.public):
            problems.append("firewall.public names a port twice")
        if ("tcp", self.ssh.port) in taken:
            problems.append("firewall.public opens the ssh port: say ssh.open_to: anywhere if that is meant")
        problems += rules.mesh(self, self.wireguard) if self.wireguard else []
        if self.ssh.open_to == "vpn" and not (self.wireguard and self.wireguard.administrators):
            problems.append("ssh.open_to: vpn needs wireguard with an administrator, or nobody would get in")
        problems += self.dns.problems(tuple(self.servers)) if self.dns else []
        if (minutes := len(self.servers) * self.updates.reboot.minutes_apart) > 24 * 60:
            problems.append(f"updates.reboot: the windows of all servers take {minutes} minutes, a day has 1440")
        problems += rules.cluster(self)
        problems += rules.kernel(self)
        problems += rules.jobs(self)
        if problems:
            raise Mistakes(problems)
        return self

    @property
    def unheard(self) -> list[str]:
        """What nobody would hear of, though there are alerts: no mistakes."""
        return rules.unheard(self)

    @property
    def forwards(self) -> bool:
        """Whether anything that is declared has a machine pass packets on between its interfaces. Nothing does yet."""
        return False

    @property
    def made(self) -> dict[str, Server]:
        """The servers that `pulumi up` makes, by name."""
        return {name: server for name, server in self.servers.items() if isinstance(server, Server)}

    @property
    def existing(self) -> dict[str, ExistingServer]:
        """The servers that somebody else made, by name."""
        return {name: server for name, server in self.servers.items() if isinstance(server, ExistingServer)}

    @property
    def mesh(self) -> dict[str, str]:
        """The servers' addresses in the WireGuard mesh, by name; empty without one."""
        if self.wireguard is None:
            return {}
        whole = ipaddress.IPv4Network(self.wireguard.range)
        found: dict[str, str] = {}
        for name, server in self.servers.items():
            if server.mesh_address is not None:
                found[name] = server.mesh_address
            elif isinstance(server, Server):
                # the same place in the mesh as in the private network: nothing moves when another server comes or goes
                offset = int(ipaddress.IPv4Address(server.private_address)) - int(
                    ipaddress.IPv4Network(self.network.subnet).network_address
                )
                found[name] = str(whole.network_address + offset)
        return found

    @property
    def volumes(self) -> dict[str, int]:
        """The volumes that `pulumi up` makes: gigabytes by server. Who has no vote has one, too: it may get a vote by
        a deploy alone, and none is taken away from under a voter that runs."""
        size = self.etcd.volume_gb
        return {} if size is None or self.postgres is None else dict.fromkeys(self.made, size)

    @property
    def sites(self) -> tuple[str, ...]:
        """The servers that carry everything, in the file's order: the primary and the standbys."""
        return tuple(name for name, server in self.servers.items() if server.role != "witness")

    @property
    def etcd_members(self) -> tuple[str, ...]:
        """The servers that vote on who leads, in the file's order; none without Postgres."""
        if self.postgres is None:
            return ()
        if self.etcd.voters:
            return self.etcd.voters
        primary, witness = (next(iter(self.by_role(role).items()), None) for role in ("primary", "witness"))
        standbys = self.by_role("standby").items()
        far = [one for one in standbys if primary and one[1].place.country != primary[1].place.country]
        chosen = {one[0] for one in (primary, next(iter(far), None), witness) if one}
        if len(chosen) < 3:
            # two votes outlive no loss, as one does: until there are three, the primary's is the only one
            chosen = {primary[0]} if primary else set()
        return tuple(name for name in self.servers if name in chosen)

    @property
    def etcd_administrator(self) -> str:
        """Who makes users and counts votes for all etcd members: the first of them that carries databases, where root
        can do all that etcd's root could."""
        return next((name for name in self.etcd_members if name in self.sites), "")

    @property
    def one_at_a_time(self) -> list[str]:
        """The servers in the order in which something risky is done to them.

        The witness goes first: what breaks machines breaks the one that serves nobody. The primary goes last.
        """
        return [name for role in _RISKY for name in sorted(self.by_role(role))]

    def by_role(self, role: Role) -> dict[str, AnyServer]:
        """The servers that have this role, by name."""
        return {name: server for name, server in self.servers.items() if server.role == role}
