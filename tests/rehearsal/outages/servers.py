"""The server fails, or is handed over; its machine does not."""

from __future__ import annotations

import time

from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.outages.model import Outage, Watch, other, without_power


def switchover(writers: Writers) -> Outage:
    """Somebody asks for it, as for an update of the leader's machine."""
    leader = writers.leader()
    watch = Watch(writers, "switchover", leader)
    with watch.failing():
        writers.switchover(other(leader))
    return watch.outage


def postgres_killed(writers: Writers) -> Outage:
    """The leader's server is gone at once, its Patroni is not."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "SIGKILL of the leader's Postgres", client)
    with watch.failing():
        writers.rehearsal.exec(leader, f"kill -KILL {postmaster(writers, leader)}")
        writers.goes_on(client, seconds=60)
    return watch.outage


def postgres_stopped(writers: Writers) -> Outage:
    """The leader's server neither answers nor ends: all of its processes stand still."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "SIGSTOP of the leader's Postgres", client)
    old = writers.settings.mesh[leader]
    with watch.failing():
        pid = postmaster(writers, leader)
        writers.rehearsal.exec(leader, f"pkill -STOP -P {pid}; kill -STOP {pid}")
        try:
            writers.taken_over(client, old, seconds=90)
        finally:
            writers.rehearsal.exec(leader, f"kill -CONT {pid} && pkill -CONT -P {pid} || true")
    return watch.outage


def never_down(writers: Writers) -> Outage:
    """The leader is asked to hand over, and its server does not come down: a part of it stands still."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "handover by a server that does not come down", client)
    with watch.failing():
        # not the checkpointer: the checkpoint before the handover would wait for it
        writers.rehearsal.exec(leader, f"pkill -STOP -P {postmaster(writers, leader)} -f 'background writer'")
        writers.ask_to_lead(client)
        writers.taken_over(client, writers.settings.mesh[leader], seconds=90)
    return watch.outage


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
            ahead = [_ahead(writers, follower)]
            if not crash:
                watch.begins()
            writers.switchover(follower)
            healed = writers.healed()
            writers.goes_on(leader, seconds=20)
            if crash:
                watch.begins()
                with without_power(writers, follower):
                    writers.taken_over(leader, writers.settings.mesh[follower], seconds=90)
                healed = writers.healed()
                ahead.append(_ahead(writers, follower))
            else:
                writers.switchover(leader)
        finally:
            writers.rehearsal.exec(follower, f"rm -f {folder}/wrong-clock.conf; {restart}")
        writers.healed()
        writers.goes_on(leader, seconds=20)
    watch.notes["ahead"] = ahead
    watch.judged(healed)
    return watch.outage


def postmaster(writers: Writers, machine: str) -> str:
    """The process of the server."""
    return writers.rehearsal.exec(machine, "head -n 1 /var/lib/postgresql/17/bastide/postmaster.pid").stdout.strip()


def _ahead(writers: Writers, machine: str) -> int:
    """Seconds by which a server's clock is wrong."""
    return round(float(writers.sql(machine, "select extract(epoch from clock_timestamp())")) - time.time())
