"""What becomes of the data."""

from __future__ import annotations

from bastide.controls.model import Control, count, databases, failover, join, replicated
from bastide.machines import Inventory, Machine
from bastide.settings import Postgres, Role, Settings

CERTIFICATE_DAYS = 30
"""For how many more days a certificate must be good: a deploy in this time renews it."""
_SITES: tuple[Role, ...] = ("primary", "standby")
CONTROLS = (
    Control(
        "postgres-01",
        "Standby",
        "{changes} in the databases streams to {standbys}, at most {lag} behind when looked at.",
        "When a site is lost, the other one has what was written.",
        roles=_SITES,
        claims=(28, 94, 95),
        needs=replicated,
    ),
    Control(
        "postgres-02",
        "Connections to the database",
        "The databases take connections over TLS 1.2 or newer, by password and from {database_sites} only.",
        "Whoever is in between reads nothing, and whoever has no password, or comes from elsewhere, is refused.",
        roles=_SITES,
        claims=(13, 14, 16),
        needs=databases,
    ),
    Control(
        "postgres-03",
        "Reach of the database",
        "No port of the databases answers at a public address or in the provider's network, and no others run.",
        "What cannot be reached cannot be attacked.",
        roles=_SITES,
        claims=(15,),
        needs=databases,
    ),
    Control(
        "postgres-04",
        "Changes on their way",
        "What the databases send to the other site cannot be read on the way, not in the mesh either.",
        "Data is encrypted a second time inside of the encrypted network: one mistake does not show it.",
        roles=_SITES,
        claims=(13,),
        needs=replicated,
    ),
    Control(
        "postgres-05",
        "Checksums",
        "Every page of the databases carries a checksum that is compared at each reading; none was found wrong.",
        "A disk that returns other data than was written is noticed. The count begins anew when a superuser resets "
        "statistics.",
        roles=_SITES,
        claims=(94,),
        needs=databases,
    ),
    Control(
        "postgres-06",
        "Rights in the databases",
        "{database_roles} may do what is declared in {databases}, and nothing else; none of them is a superuser.",
        "An application that was broken into can do no more than it has to.",
        roles=_SITES,
        claims=(16, 37),
        needs=databases,
    ),
    Control(
        "postgres-07",
        "Who leads",
        "One server takes writes at any time, by the votes; to change that takes a certificate and a password.",
        "Two servers that both take writes would each lose what the other one was told.",
        roles=_SITES,
        claims=(94,),
        needs=failover,
    ),
    Control(
        "postgres-08",
        "Certificates of the databases",
        "Certificates of the databases are good for {certificate_days} days or more; one account can read their keys.",
        "No certificate that ran out stops the databases, and nobody can pass himself off as one of them: this stack's "
        "own authorities are trusted to vouch for them, and no others.",
        roles=_SITES,
        claims=(13,),
        needs=databases,
    ),
    Control(
        "postgres-09",
        "Ways to the database",
        "Applications come to the server that leads through a pool on their own machine, over TLS and by password.",
        "After a change of leader they find the new one by themselves.",
        roles=_SITES,
        claims=(103,),
        needs=databases,
    ),
    Control(
        "postgres-10",
        "Log of changes",
        "Changes of tables, roles and rights in the databases are logged, and so is who connects and leaves.",
        "Afterwards it can be told who changed what.",
        roles=_SITES,
        claims=(39,),
        needs=databases,
    ),
    Control(
        "postgres-11",
        "Commits",
        "{commits}",
        "It is known whose acknowledged changes outlive the loss of a site, and who chose otherwise.",
        roles=_SITES,
        claims=(28, 94),
        needs=failover,
    ),
    Control(
        "postgres-12",
        "Settings in force",
        "Database servers, pool and the ways there run with the declared settings alone, in memory as in their files.",
        "A setting that somebody changed by hand could switch off what is said here.",
        roles=_SITES,
        claims=(16,),
        needs=databases,
    ),
    Control(
        "postgres-13",
        "Passwords in logs",
        "No password stands in the log of the databases or in their statistics of statements.",
        "Who may read a log cannot log in with it.",
        roles=_SITES,
        claims=(37,),
        needs=databases,
    ),
    Control(
        "postgres-14",
        "What the votes decide",
        "The voters decide which server leads; what it runs, and whom it lets in, each server has from its own file.",
        "Who takes over a voter can stop writes, or have a server lead that lacks the newest, and run or read nothing.",
        roles=_SITES,
        claims=(37, 94),
        needs=databases,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with. Without databases nothing is proven, and the sentences are not printed."""
    wanted = settings.postgres
    unlogged = sum(len(one.unlogged) for one in wanted.databases.values()) if wanted else 0
    standbys = [machine for machine in inventory if machine.role == "standby"]
    return {
        "standbys": f"{count(len(standbys), 'standby', 'standbys')} in {_countries(standbys)}",
        "lag": count(lag_seconds(wanted) if wanted else 0, "second"),
        "changes": f"Every change but those of {count(unlogged, 'unlogged table')}" if unlogged else "Every change",
        "commits": _commits(wanted),
        "database_sites": count(len(standbys) + 1, "server"),
        "database_roles": count(len(wanted.roles) if wanted else 0, "role").capitalize(),
        "databases": count(len(wanted.databases) if wanted else 0, "database"),
        "certificate_days": str(CERTIFICATE_DAYS),
    }


def lag_seconds(wanted: Postgres) -> int:
    """How far behind a standby may be when it is looked at: it may wait so long for a read."""
    return max(30, wanted.replica_reads.max_standby_streaming_delay_seconds)


def _commits(wanted: Postgres | None) -> str:
    """What a commit waits for, and who may choose otherwise: nothing in PostgreSQL forbids a session to decline."""
    if wanted is None or wanted.durability == "fast":
        return "A commit waits for no standby: what none has received by then is lost with the server that led."
    decline = "a role can decline for its own commits alone, and none was seen to"
    if wanted.without_standby == "stop":
        return f"A commit waits until a standby has it on disk; {decline}."
    return f"While a standby is there, a commit waits until that has it on disk; {decline}."


def _countries(machines: list[Machine]) -> str:
    return join(sorted({machine.place.country_name for machine in machines}))
