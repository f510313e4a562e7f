"""What the database cluster needs to know of a stack: its members, and every password of its roles."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from bastide.machines import Machine
from bastide.scram import verifier
from bastide.secrets import Keyring
from bastide.settings import Postgres, Server, Settings

# docs.hetzner.com/cloud/servers/overview, "Server types": memory in MB (GB of 1024 there)
_MEMORY_GB = {
    "cx22": 4, "cx23": 4, "cx32": 8, "cx33": 8, "cx42": 16, "cx43": 16, "cx52": 32, "cx53": 32,
    "cpx11": 2, "cpx12": 2, "cpx21": 4, "cpx22": 4, "cpx31": 8, "cpx32": 8, "cpx41": 16, "cpx42": 16, "cpx51": 32,
    "cpx52": 24, "cpx62": 32, "cax11": 4, "cax21": 8, "cax31": 16, "cax41": 32,
    "ccx13": 8, "ccx23": 16, "ccx33": 32, "ccx43": 64, "ccx53": 128, "ccx63": 192,
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One machine of the mesh as the cluster knows it. `site`: it carries Postgres; `votes`: etcd."""

    name: str
    address: str
    site: bool
    votes: bool


@dataclass(frozen=True)
class Cluster:
    """The database cluster as one of its machines sees it. `memory_mb` is 0 where only the machine knows it."""

    stack: str
    me: Member
    members: tuple[Member, ...]
    postgres: Postgres
    memory_mb: int
    first: bool

    @property
    def sites(self) -> tuple[Member, ...]:
        """Those that carry Postgres."""
        return tuple(member for member in self.members if member.site)

    @property
    def voters(self) -> tuple[Member, ...]:
        """Those whose etcd votes."""
        return tuple(member for member in self.members if member.votes)


def cluster_of(settings: Settings, machine: Machine, stack: str, *, first: bool | None = None) -> Cluster:
    """The cluster as `machine` sees it. `first`: whether it starts before others, by itself the primary.

    Raises `ValueError` for settings without Postgres.
    """
    if settings.postgres is None:
        raise ValueError("the settings have no postgres")
    members = tuple(
        Member(name, address, settings.servers[name].role != "witness", name in settings.etcd_members)
        for name, address in settings.mesh.items()
    )
    me = next(member for member in members if member.name == machine.name)
    server = settings.servers[machine.name]
    memory = _MEMORY_GB.get(server.type, 0) * 1024 if isinstance(server, Server) else 0
    return Cluster(stack, me, members, settings.postgres, memory, machine.role == "primary" if first is None else first)


def password(keyring: Keyring, role: str) -> SecretStr:
    """The password of a role of the database, one of the platform's own among them."""
    return SecretStr(keyring.derive(f"postgres/role/{role}").hex())


def role_verifier(keyring: Keyring, role: str) -> SecretStr:
    """What the server and PgBouncer keep of it."""
    return verifier(password(keyring, role), keyring.derive(f"postgres/salt/{role}", length=16))
