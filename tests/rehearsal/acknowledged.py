"""Writers that never lie, on the machines of a rehearsal, and what they were told against what is there in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bastide.cluster import password
from bastide.console import Completed
from bastide.layout.postgres import FOLDER, PATRONI_PORT, POOL_PORT
from bastide.patroni import Member, cluster_state
from bastide.secrets import Keyring, keyring_from
from bastide.settings import Settings
from bastide.stackfile import SECRETS_KEY, read
from deploys.etcd import membership
from tests.rehearsal.stack import Rehearsal, wait_for

SITES = ("primary", "standby")
MACHINES = (*SITES, "witness")
PATIENCE = 1.5
"""Seconds that the writer waits for one answer, as an application with short timeouts does."""
HEALED = 90.0
"""Seconds within which all must be well again when everything is there again."""
_PROGRAM = Path(__file__).with_name("writer.py")
_UNIT = "rehearsal-writer"
_PLACE = "/var/lib/rehearsal-writer"
_TABLE = "rehearsal_rows"
_LONGEST = 900


@dataclass(frozen=True)
class Ack:
    """The server said that a row is there. `server` is its address; `warned`: it said that the standby may lack it."""

    writer: str
    number: int
    sent: float
    at: float
    server: str
    warned: bool


@dataclass
class Told:
    """What the writers were told, all of them together, in the order of time."""

    acks: list[Ack] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    until: float = 0.0

    def of(self, machine: str) -> list[Ack]:
        """Those of one machine's writers."""
        return [ack for ack in self.acks if ack.writer.startswith(f"{machine}/")]

    def stopped(self, machine: str, since: float = 0.0) -> float:
        """The longest time without an acknowledgement on a machine from `since` on; what lasts to the end counts."""
        times = [ack.at for ack in self.of(machine)]
        last = max((at for at in times if at <= since), default=since or min(times, default=0.0))
        later = [at for at in times if at > last]
        ends = [*later, self.until]
        return max(after - before for before, after in zip([last, *later], ends, strict=True))

    def reigns(self) -> list[str]:
        """The servers that took writes, one after the other: whoever stands there twice wrote beside another one."""
        found: list[str] = []
        for ack in self.acks:
            if not found or found[-1] != ack.server:
                found.append(ack.server)
        return found


class Writers:
    """The writers of a rehearsal, and the view of its cluster. Rows lie in a table of their own."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.settings: Settings = read(rehearsal.file)
        assert self.settings.postgres, "the stack has no postgres"
        self.sites = self.settings.sites
        self.database, declared = next(iter(self.settings.postgres.databases.items()))
        self.role = next(role for role, right in declared.roles.items() if right == "writer")
        self.owner = declared.owner
        self.password = password(_keyring(rehearsal), self.role)
        self.begun: dict[str, int] = {}

    @contextmanager
    def writing(self, *machines: str, patience: float = PATIENCE) -> Iterator[None]:
        """Rows are written from these machines during the block; ended, the table is kept until `judge`.

        `patience`: seconds for which a writer waits for one answer.
        """
        leader = self.leader()
        self.clear()
        self.sql(
            leader,
            f'set role "{self.owner}"; create table {_TABLE} (writer text, n bigint, primary key (writer, n))',
        )
        try:
            for machine in machines:
                self.start(machine, patience)
            wait_for(lambda: all(self.told().of(one) for one in machines), "the first rows are there")
            yield
        finally:
            for machine in machines:
                self.stop(machine)

    def start(self, machine: str, patience: float = PATIENCE) -> None:
        """Begin to write on a machine; the password goes over standard input, and lies in memory until it is read."""
        self.begun[machine] = self.begun.get(machine, 0) + 1
        name = f"{machine}/{self.begun[machine]}"
        plan = {
            "name": name,
            "table": _TABLE,
            "record": f"{_PLACE}/record-{self.begun[machine]}",
            "pause": 0.03,
            "patience": patience,
            "seconds": _LONGEST,
            "to": {
                "host": "127.0.0.1",
                "port": POOL_PORT,
                "user": self.role,
                "password": self.password.get_secret_value(),
                "dbname": self.database,
                "sslmode": "require",
            },
        }
        self.rehearsal.exec(machine, f"mkdir -p {_PLACE}; cat > {_PLACE}/writer.py", input=_PROGRAM.read_text())
        unit = f"systemd-run -q --collect --unit={_UNIT} -p RuntimeMaxSec={_LONGEST + 60}"
        self.rehearsal.exec(
            machine,
            f"umask 077; cat > /run/{_UNIT}.json; {unit} python3 {_PLACE}/writer.py /run/{_UNIT}.json",
            input=json.dumps(plan),
        )

    def stop(self, machine: str) -> None:
        """End it; one that died with its machine is no error."""
        self.rehearsal.exec(machine, f"systemctl stop {_UNIT} 2>/dev/null || true", check=False)

    def told(self) -> Told:
        """What all writers were told until now. Machines that are off say nothing."""
        told = Told()
        for machine in self.begun:
            text = self.rehearsal.exec(machine, f"cd {_PLACE} && tail -n +1 -v record-*", check=False).stdout
            read_records(told, machine, text)
        told.acks.sort(key=lambda ack: ack.at)
        told.until = time.monotonic()
        return told

    def last(self, machine: str) -> Ack | None:
        """The newest acknowledgement on a machine; None when it has none, or is off."""
        script = f"cd {_PLACE} && tail -q -n 400 record-{self.begun[machine]} | grep ^ack | tail -n 1"
        told = Told()
        read_records(told, machine, self.rehearsal.exec(machine, script, check=False).stdout)
        return told.acks[-1] if told.acks else None

    def taken_over(self, machine: str, before: str, *, seconds: float) -> None:
        """Wait until rows of a machine are taken by another server than the one at the address `before`."""

        def taken() -> bool:
            last = self.last(machine)
            return last is not None and last.server != before

        wait_for(taken, f"another server than {before} takes rows from {machine}", seconds=seconds)

    def goes_on(self, machine: str, *, seconds: float) -> None:
        """Wait until rows are acknowledged on a machine that were sent from now on."""
        now = time.monotonic()
        wait_for(
            lambda: (last := self.last(machine)) is not None and last.sent > now,
            f"rows of {machine} are taken",
            seconds=seconds,
        )

    def clear(self) -> None:
        """Leave nothing of earlier writers: neither rows nor records."""
        for machine in self.sites:
            self.stop(machine)
            self.rehearsal.exec(machine, f"rm -rf {_PLACE} /run/{_UNIT}.json")
        self.begun = {}
        self.sql(self.leader(), f"drop table if exists {_TABLE}")

    def missing(self, told: Told) -> list[Ack]:
        """Acknowledged rows that are not there, on the leader or on the replicas (which have caught up)."""
        wanted = {(ack.writer, ack.number) for ack in told.acks}
        leader = self.leader()
        end = self.sql(leader, "select pg_current_wal_lsn()")
        lost: set[tuple[str, int]] = set()
        for machine in self.sites:
            if machine != leader:
                reached = f"select pg_last_wal_replay_lsn() >= '{end}'"
                wait_for(lambda one=machine, q=reached: self.sql(one, q) == "t", "the replica has it all")  # type: ignore[misc]
            rows = self.sql(machine, f"select writer || ' ' || n from {_TABLE}").splitlines()
            there = {(row.split()[0], int(row.split()[1])) for row in rows}
            lost |= wanted - there
        return [ack for ack in told.acks if (ack.writer, ack.number) in lost]

    def sql(self, machine: str, text: str) -> str:
        """Statements as the superuser, over the socket."""
        words = f"timeout 20 runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d '{self.database}' -f -"
        done = self.rehearsal.exec(machine, words, input=text + ";\n", check=False)
        if not done.ok:
            # a server that is down without anybody's doing: why stands in Patroni's log, which goes with the lab
            why = self.rehearsal.exec(machine, "journalctl -qu patroni -n 60 -o short-precise", check=False).stdout
            raise AssertionError(f"{machine}: {text}: {done.stderr[-500:]}\n{why}")
        return done.stdout.strip()

    def pooled(self, machine: str, database: str, sql: str, options: str = "") -> Completed:
        """What an application on a site gets from the pool there, connecting as drivers do."""
        where = f"host=127.0.0.1 port={POOL_PORT} user={self.role} dbname={database} sslmode=verify-full"
        words = f"PGOPTIONS='{options}' psql -XAtq '{where} sslrootcert={FOLDER}/ca.crt' -f -"
        # the password by standard input, into the environment of this one program
        script = f"read -r PGPASSWORD; export PGPASSWORD; {words}"
        secret = self.password.get_secret_value()
        return self.rehearsal.exec(machine, script, input=f"{secret}\n{sql};\n", check=False)

    def members(self) -> dict[str, Member]:
        """Patroni's members by name, as the first site that answers sees them; {} when none does."""
        return next(filter(None, map(self._seen_by, self.sites)), {})

    def _seen_by(self, machine: str) -> dict[str, Member]:
        """The members as one site's Patroni sees them; {} when it does not answer."""
        url = f"https://{self.settings.mesh[machine]}:{PATRONI_PORT}/cluster"
        done = self.rehearsal.exec(machine, f"curl -sf -m 3 --cacert {FOLDER}/ca.crt {url}", check=False)
        seen = cluster_state(json.loads(done.stdout)) if done.ok else None
        return {one.name: one for one in seen.members} if seen else {}

    def leader(self) -> str:
        """Who leads, by Patroni, whether its server runs or not; "" while nobody does."""
        return next((name for name, one in self.members().items() if one.leads), "")

    def writable(self) -> list[str]:
        """Machines whose server would take a write, by the server's own word."""
        ask = "timeout 5 runuser -u postgres -- psql -XAtqc 'select pg_is_in_recovery()'"
        return [one for one in self.sites if self.rehearsal.exec(one, ask, check=False).stdout.strip() == "f"]

    def healthy(self) -> bool:
        """One leads and runs, every other one streams from it, one of them in sync where that is wanted.

        All sites must say the same: one that was cut off knows for a moment only how things were before.
        """
        assert self.settings.postgres
        views = [self._seen_by(site) for site in self.sites]
        if any(_roles(view) != _roles(views[0]) for view in views):
            return False
        members = views[0]
        leads, *follow = sorted((one.role, one.state) for one in members.values()) or [("", "")]
        in_sync = [role for role, _ in follow if role == "sync_standby"]
        return (
            set(members) == set(self.sites)
            and leads == ("leader", "running")
            and {state for _, state in follow} == {"streaming"}
            and len(in_sync) == (self.settings.postgres.durability == "zero-loss")
            and len({one.timeline for one in members.values()}) == 1
        )

    def members_agree(self) -> bool:
        """Whether every member of etcd is well."""
        return all(self.rehearsal.exec(one, membership.OWN_HEALTH, check=False).ok for one in MACHINES)

    def healed(self, *, seconds: float = HEALED) -> float:
        """Wait until the cluster and etcd are well, without hands. Returns how long that took.

        A server takes writes by its own word too: Patroni knows for seconds only how a killed one was before.
        """
        began = time.monotonic()
        wait_for(
            lambda: self.healthy() and self.members_agree() and self.writable() != [],
            "all is well again without hands",
            seconds=seconds,
        )
        assert len(self.writable()) == 1
        return time.monotonic() - began

    def switchover(self, to: str, *, seconds: float = 60) -> None:
        """Hand the leadership over, and wait until all is well."""
        if self.leader() == to:
            return
        self.ask_to_lead(to)
        wait_for(lambda: self.leader() == to and self.healthy(), f"{to} leads, the other follows", seconds=seconds)

    def ask_to_lead(self, to: str) -> None:
        """Ask as an operator does; returns when it was done, or refused, which raises."""
        order = f"switchover --leader {self.leader()} --candidate {to} --force"
        self.rehearsal.exec(to, f"timeout 50 patronictl -c /etc/patroni/config.yml {order}")

    def etcd_leader(self) -> str:
        """Which machine leads etcd; "" when none does."""
        for machine in MACHINES:
            words = "timeout 10 bastide-etcdctl -w json endpoint status"
            done = self.rehearsal.exec(machine, words, check=False)
            for one in json.loads(done.stdout or "[]") if done.stdout.startswith("[") else []:
                if one["Status"]["leader"] == one["Status"]["header"]["member_id"]:
                    address = one["Endpoint"].partition("//")[2].rpartition(":")[0]
                    return next(name for name, known in self.settings.mesh.items() if known == address)
        return ""


def lent(rehearsal: Rehearsal) -> Iterator[Writers]:
    """Writers on a cluster that is well before and after; in the end the primary leads, and nothing of theirs is left.

    For a module's fixture: `yield from lent(rehearsal)`.
    """
    found = Writers(rehearsal)
    found.healed()
    yield found
    found.healed()
    found.switchover("primary")
    found.clear()


def read_records(told: Told, machine: str, text: str) -> None:
    """Add the lines of a machine's records; the last one may be cut."""
    writer = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "==>":
            writer = f"{machine}/{rest.split()[0].rpartition('-')[2]}"
        elif kind == "ack" and len(words := rest.split()) == 5:
            number, sent, at, server, warned = words
            told.acks.append(Ack(writer, int(number), float(sent), float(at), server, warned == "1"))
        elif kind == "unknown":
            told.unknown[machine] = told.unknown.get(machine, 0) + 1
            reason = " ".join(rest.split()[3:])
            told.reasons[reason] = told.reasons.get(reason, 0) + 1


def _roles(view: dict[str, Member]) -> dict[str, str]:
    return {name: one.role for name, one in view.items()}


def _keyring(rehearsal: Rehearsal) -> Keyring:
    config = json.loads(rehearsal.pulumi("config", "--json", "--show-secrets").stdout)
    return keyring_from(rehearsal.stack, config[SECRETS_KEY]["objectValue"]["master"])
