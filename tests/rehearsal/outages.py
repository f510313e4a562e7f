"""The failures of the database cluster: each is made while rows are written, mended, and judged by what was told.

They leave a cluster that is well; whoever led last leads on. The tests and the benchmark use the same ones.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from bastide.doors import POSTGRES
from tests.rehearsal.acknowledged import MACHINES, SITES, Told, Writers
from tests.rehearsal.stack import kill_tree, wait_for

POWER_CUT = "power cut of the leader"


@dataclass
class Outage:
    """What one failure cost. `stopped`: seconds in which no row was acknowledged to the client that was watched."""

    what: str
    stopped: float
    healed: float
    acknowledged: int
    unknown: int
    lost: int
    reigns: list[str]
    warned: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line."""
        return " ".join(f"{key}={value}" for key, value in asdict(self).items())


@dataclass
class Watch:
    """One failure at work: the client that is watched, and when the failure began."""

    writers: Writers
    what: str
    machine: str
    since: float = 0.0

    def begins(self) -> None:
        """From here on a stop is this failure's."""
        self.since = time.monotonic()

    def judged(self, healed: float) -> Outage:
        """After the writers have ended: what they were told, against what is there."""
        told: Told = self.writers.told()
        told.until = max(ack.at for ack in told.of(self.machine))
        outage = Outage(
            what=self.what,
            stopped=round(told.stopped(self.machine, self.since), 2),
            healed=round(healed, 1),
            acknowledged=len(told.acks),
            unknown=sum(told.unknown.values()),
            lost=len(self.writers.missing(told)),
            reigns=told.reigns(),
            warned=sum(ack.warned for ack in told.acks),
            notes={"reasons": told.reasons} if told.reasons else {},
        )
        self.writers.clear()
        return outage


def other(site: str) -> str:
    """The other one of the two sites."""
    return next(one for one in SITES if one != site)


def switchover(writers: Writers) -> Outage:
    """Somebody asks for it, as for an update of the leader's machine."""
    leader = writers.leader()
    watch = Watch(writers, "switchover", leader)
    with writers.writing(leader):
        watch.begins()
        writers.switchover(other(leader))
        healed = writers.healed()
        writers.goes_on(leader, seconds=20)
    return watch.judged(healed)


def postgres_killed(writers: Writers) -> Outage:
    """The leader's server is gone at once, its Patroni is not."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "SIGKILL of the leader's Postgres", client)
    with writers.writing(client):
        watch.begins()
        writers.rehearsal.exec(leader, f"kill -KILL {postmaster(writers, leader)}")
        writers.goes_on(client, seconds=60)
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
    return watch.judged(healed)


def postgres_stopped(writers: Writers) -> Outage:
    """The leader's server neither answers nor ends: all of its processes stand still."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "SIGSTOP of the leader's Postgres", client)
    old = writers.settings.mesh[leader]
    with writers.writing(client):
        watch.begins()
        pid = postmaster(writers, leader)
        writers.rehearsal.exec(leader, f"pkill -STOP -P {pid}; kill -STOP {pid}")
        try:
            writers.taken_over(client, old, seconds=90)
        finally:
            writers.rehearsal.exec(leader, f"kill -CONT {pid} && pkill -CONT -P {pid} || true")
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
    return watch.judged(healed)


def power_cut(writers: Writers, *, with_voters: bool = False) -> Outage:
    """The leader's machine loses power, with or without the leadership of etcd."""
    leader = writers.leader()
    client = other(leader)
    lead_etcd(writers, leader if with_voters else "witness")
    what = POWER_CUT + (", which led etcd too" if with_voters else "")
    watch = Watch(writers, what, client)
    with writers.writing(client):
        watch.begins()
        writers.rehearsal.lab("crash", leader)
        try:
            writers.taken_over(client, writers.settings.mesh[leader], seconds=90)
        finally:
            writers.rehearsal.lab("start", leader)
            lead_etcd(writers, "witness")
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
    return watch.judged(healed)


def cut_off(writers: Writers) -> Outage:
    """The leader's machine is cut off from everything, and its own clients go on asking it."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "leader cut off from the others", client)
    with writers.writing(*SITES):
        watch.begins()
        writers.rehearsal.lab("block", leader)
        try:
            writers.taken_over(client, writers.settings.mesh[leader], seconds=90)
            # the clients beside it were told nothing since: neither yes, nor yes later
            writable = writers.writable()
        finally:
            writers.rehearsal.lab("unblock", leader)
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
        writers.goes_on(leader, seconds=30)
    outage = watch.judged(healed)
    outage.notes["writable"] = writable
    return outage


def sites_apart(writers: Writers) -> Outage:
    """The two sites do not reach each other, and both reach the witness: the leader goes on, alone."""
    leader = writers.leader()
    watch = Watch(writers, "the sites cut off from each other", leader)
    with writers.writing(*SITES):
        watch.begins()
        writers.rehearsal.lab("block", *SITES)
        try:
            writers.goes_on(leader, seconds=60)
            kept = writers.leader() == leader
        finally:
            writers.rehearsal.lab("unblock", *SITES)
        healed = writers.healed()
        for site in SITES:
            writers.goes_on(site, seconds=30)
    outage = watch.judged(healed)
    outage.notes["leader kept"] = kept
    return outage


def clients_cut_off(writers: Writers) -> Outage:
    """The other site's clients do not reach the leader, all else does: nobody is replaced, and they wait."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "clients of the other site cut off from the leader", leader)
    table = "inet rehearsal_clients"
    way = f"meta skuid haproxy ip daddr {writers.settings.mesh[leader]} tcp dport {POSTGRES}"
    with writers.writing(*SITES):
        watch.begins()
        cut = time.monotonic()
        writers.rehearsal.exec(
            client,
            f"nft add table {table}; nft add chain {table} output '{{ type filter hook output priority 0; }}'; "
            f"nft add rule {table} output {way} drop",
        )
        try:
            # longer than any lease lives
            wait_for(lambda: time.monotonic() > cut + 25, "25 s without the other site's clients", seconds=30)
            kept = writers.leader() == leader
        finally:
            writers.rehearsal.exec(client, f"nft delete table {table}")
        healed = writers.healed()
        for site in SITES:
            writers.goes_on(site, seconds=30)
    waited = writers.told().stopped(client, cut)
    outage = watch.judged(healed)
    outage.notes |= {"leader kept": kept, "their wait": round(waited, 1)}
    return outage


def lost(writers: Writers, *machines: str, leads_etcd: bool = False) -> Outage:
    """Machines that do not lead lose power: the witness or the standby alone are not noticed for long.

    `leads_etcd`: whether the leader leads the voters, too, so that it loses its followers.
    """
    leader = writers.leader()
    assert leader not in machines
    lead_etcd(writers, leader if leads_etcd else "witness")
    whom = ", followers of the leader in etcd" if leads_etcd else ""
    watch = Watch(writers, f"power cut of {' and '.join(machines)}{whom}", leader)
    with writers.writing(leader):
        watch.begins()
        for machine in machines:
            writers.rehearsal.lab("crash", machine)
        try:
            if len(machines) == 1:
                # it is missed after ttl: nothing may happen then either
                wait_for(lambda: time.monotonic() > watch.since + 25, "25 s without it", seconds=30)
                writers.goes_on(leader, seconds=60)
            else:
                wait_for(lambda: not writers.writable(), "nobody leads without a quorum", seconds=40)
        finally:
            for machine in machines:
                writers.rehearsal.lab("start", machine)
            lead_etcd(writers, "witness")
        writers.goes_on(leader, seconds=90)
        healed = writers.healed()
    return watch.judged(healed)


def all_rebooted(writers: Writers) -> Outage:
    """All three machines at once, as after a mistake with an update."""
    leader = writers.leader()
    watch = Watch(writers, "reboot of all three at once", leader)
    boots = {one: _boot(writers, one) for one in MACHINES}
    with writers.writing(leader):
        watch.begins()
        for machine in MACHINES:
            writers.rehearsal.lab("reboot", machine)
        for machine in MACHINES:
            wait_for(lambda one=machine: _boot(writers, one) not in ("", boots[one]), f"{machine} is back", seconds=60)  # type: ignore[misc]
        writers.start(leader)
        writers.goes_on(leader, seconds=90)
        healed = writers.healed()
    return watch.judged(healed)


def full_disk(writers: Writers) -> Outage:
    """The leader has no room left. It still answers, so nobody replaces it: it is asked to hand over, and can."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "full disk on the leader, which is asked to hand over", client)
    with writers.writing(client):
        watch.begins()
        writers.rehearsal.lab("fill", leader)
        try:
            wait_for(lambda: "No space left" in str(writers.told().reasons), "rows are refused", seconds=60)
            voted = writers.voters_agree()
            writers.ask_to_lead(client)
            writers.taken_over(client, writers.settings.mesh[leader], seconds=60)
        finally:
            writers.rehearsal.lab("unfill", leader)
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
    outage = watch.judged(healed)
    outage.notes["voters agree"] = voted
    return outage


def slow_lines(writers: Writers, delay: str, loss: str = "") -> Outage:
    """The sites are far from each other."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, f"{delay} {loss} between the sites".replace("  ", " "), client)
    with writers.writing(client):
        writers.rehearsal.lab("slow", *SITES, delay, *([loss] if loss else []))
        try:
            watch.begins()
            wait_for(lambda: time.monotonic() > watch.since + 30, "30 s on slow lines", seconds=40)
            kept = writers.leader() == leader
        finally:
            writers.rehearsal.lab("unslow", *SITES)
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
    outage = watch.judged(healed)
    outage.notes["leader kept"] = kept
    return outage


def wrong_clock(writers: Writers, seconds: int, *, crash: bool = False) -> Outage:
    """The follower's Patroni and Postgres live in another hour, and then lead; this host's clock is never touched.

    `crash`: its machine loses power while it leads, and comes back in that hour; else it hands back.
    """
    leader = writers.leader()
    follower = other(leader)
    what = f"{'power cut of' if crash else 'switchover to'} a server whose clock is {seconds} s wrong"
    watch = Watch(writers, what, leader)
    folder = "/etc/systemd/system/patroni.service.d"
    library = "/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1"
    words = f"FAKETIME={seconds:+d} FAKETIME_DONT_FAKE_MONOTONIC=1 LD_PRELOAD={library}"
    restart = "systemctl daemon-reload && timeout 60 systemctl restart patroni"
    writers.rehearsal.exec(follower, "apt-get -qq update && apt-get -qq -y install libfaketime >/dev/null", timeout=300)
    with writers.writing(leader):
        try:
            writers.rehearsal.exec(
                follower, f'printf "[Service]\\nEnvironment={words}\\n" > {folder}/wrong-clock.conf; {restart}'
            )
            writers.healed()
            ahead = float(writers.sql(follower, "select extract(epoch from clock_timestamp())")) - time.time()
            if not crash:
                watch.begins()
            writers.switchover(follower)
            healed = writers.healed()
            writers.goes_on(leader, seconds=20)
            if crash:
                watch.begins()
                writers.rehearsal.lab("crash", follower)
                try:
                    writers.taken_over(leader, writers.settings.mesh[follower], seconds=90)
                finally:
                    writers.rehearsal.lab("start", follower)
                healed = writers.healed()
            else:
                writers.switchover(leader)
        finally:
            writers.rehearsal.exec(follower, f"rm -f {folder}/wrong-clock.conf; {restart}")
        writers.healed()
        writers.goes_on(leader, seconds=20)
    outage = watch.judged(healed)
    outage.notes["ahead"] = round(ahead)
    return outage


def deploy_during(writers: Writers) -> tuple[Outage, str]:
    """Somebody deploys while nobody leads: what was said, too."""
    leader = writers.leader()
    client = other(leader)
    lead_etcd(writers, "witness")
    watch = Watch(writers, "power cut of the leader, and a deploy before another one leads", client)
    with writers.writing(client):
        watch.begins()
        writers.rehearsal.lab("crash", leader)
        writers.rehearsal.lab("start", leader)
        done = writers.rehearsal.deploy(check=False)
        writers.goes_on(client, seconds=90)
        healed = writers.healed()
        writers.goes_on(client, seconds=20)
    outage = watch.judged(healed)
    outage.notes["deploy"] = done.returncode
    return outage, done.stdout + done.stderr


def dies_in_a_deploy(writers: Writers) -> tuple[Outage, str]:
    """The leader loses power in the midst of a deploy whose change restarts the servers: what was said, too."""
    leader = writers.leader()
    client = other(leader)
    lead_etcd(writers, "witness")
    assert writers.settings.postgres
    more = writers.settings.postgres.max_connections + 10
    watch = Watch(writers, "power cut of the leader in a deploy", client)
    rehearsal = writers.rehearsal
    words = ["pyinfra", "-y", "--fail-percent", "0", "hosts/inventory.py", "deploys/site.py"]
    with writers.writing(client), rehearsal.settings_changed("postgres.max_connections", more):
        deploy = subprocess.Popen(
            words,
            cwd=rehearsal.root,
            env={**os.environ, **rehearsal.env},
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            assert deploy.stderr is not None
            said = ""
            while "Starting operation: postgres | what all members share" not in said:
                line = deploy.stderr.readline()
                assert line, f"the deploy ended before its change: {said[-2000:]}"
                said += line
            watch.begins()
            rehearsal.lab("crash", leader)
            said += deploy.stderr.read()
            code = deploy.wait(timeout=200)
        finally:
            if deploy.poll() is None:
                kill_tree(deploy.pid)
            rehearsal.lab("start", leader)
        writers.goes_on(client, seconds=90)
        healed = writers.healed()
        rehearsal.deploy()
        writers.goes_on(client, seconds=20)
    outage = watch.judged(healed)
    outage.notes["deploy"] = code
    return outage, said


def lead_etcd(writers: Writers, machine: str) -> None:
    """Bring the leadership of the voters to a machine."""
    script = (
        'id=$(timeout 10 bastide-etcdctl member list | awk -F", " -v n="$1" \'$3 == n { print $1 }\'); '
        "timeout 10 bastide-etcdctl move-leader $id"
    )
    # a machine whose leadership is to stay elsewhere: the witness would bring it back within seconds
    timer = "start" if machine == "witness" else "stop"
    writers.rehearsal.exec("witness", f"systemctl {timer} bastide-etcd-lead.timer")

    def there() -> bool:
        leads = writers.etcd_leader()
        if leads and leads != machine:
            writers.rehearsal.exec(leads, script.replace('"$1"', machine), check=False)
        return leads == machine

    wait_for(there, f"{machine} leads etcd", seconds=30)


def postmaster(writers: Writers, machine: str) -> str:
    """The process of the server."""
    return writers.rehearsal.exec(machine, "head -n 1 /var/lib/postgresql/17/bastide/postmaster.pid").stdout.strip()


def _boot(writers: Writers, machine: str) -> str:
    done = writers.rehearsal.exec(machine, "cat /proc/sys/kernel/random/boot_id", check=False)
    return done.stdout.strip() if done.ok else ""
