"""Machines lose power, reboot, or have no room left."""

from __future__ import annotations

import time

from tests.rehearsal.acknowledged import MACHINES, Writers
from tests.rehearsal.outages.model import Outage, Watch, lead_etcd, other, without_power
from tests.rehearsal.stack import wait_for

POWER_CUT = "power cut of the leader"


def power_cut(writers: Writers, *, with_etcd: bool = False) -> Outage:
    """The leader's machine loses power, with or without the leadership of etcd."""
    leader = writers.leader()
    client = other(leader)
    lead_etcd(writers, leader if with_etcd else "witness")
    what = POWER_CUT + (", which led etcd too" if with_etcd else "")
    watch = Watch(writers, what, client)
    with watch.failing():
        try:
            with without_power(writers, leader):
                writers.taken_over(client, writers.settings.mesh[leader], seconds=90)
        finally:
            lead_etcd(writers, "witness")
    return watch.outage


def lost(writers: Writers, *machines: str, leads_etcd: bool = False) -> Outage:
    """Machines that do not lead lose power: the witness or the standby alone are not noticed for long.

    `leads_etcd`: whether the leader leads etcd, too, so that it loses its followers.
    """
    leader = writers.leader()
    assert leader not in machines
    lead_etcd(writers, leader if leads_etcd else "witness")
    whom = ", followers of the leader in etcd" if leads_etcd else ""
    watch = Watch(writers, f"power cut of {' and '.join(machines)}{whom}", leader)
    with watch.failing():
        with without_power(writers, *machines):
            if len(machines) == 1:
                # it is missed after ttl: nothing may happen then either
                wait_for(lambda: time.monotonic() > watch.since + 25, "25 s without it")
                writers.goes_on(leader, seconds=60)
            else:
                wait_for(lambda: not writers.writable(), "nobody leads without a quorum", seconds=40)
        writers.goes_on(leader, seconds=90)
    lead_etcd(writers, "witness")
    return watch.outage


def all_rebooted(writers: Writers) -> Outage:
    """All three machines at once, as after a mistake with an update."""
    leader = writers.leader()
    watch = Watch(writers, "reboot of all three at once", leader)
    boots = {one: _boot(writers, one) for one in MACHINES}
    with watch.failing():
        for machine in MACHINES:
            writers.rehearsal.lab("reboot", machine)
        for machine in MACHINES:
            wait_for(lambda one=machine: _boot(writers, one) not in ("", boots[one]), f"{machine} is back", seconds=60)  # type: ignore[misc]
        writers.start(leader)
        writers.goes_on(leader, seconds=90)
    return watch.outage


def full_disk(writers: Writers) -> Outage:
    """The leader has no room left. It still answers, so nobody replaces it: it is asked to hand over, and can."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "full disk on the leader, which is asked to hand over", client)
    with watch.failing():
        writers.rehearsal.lab("fill", leader)
        try:
            wait_for(lambda: "No space left" in str(writers.told().reasons), "rows are refused", seconds=60)
            watch.notes["members agree"] = writers.members_agree()
            writers.ask_to_lead(client)
            writers.taken_over(client, writers.settings.mesh[leader], seconds=60)
        finally:
            writers.rehearsal.lab("unfill", leader)
    return watch.outage


def _boot(writers: Writers, machine: str) -> str:
    """The machine's boot, as soon as its systemd takes orders; "" before."""
    script = "systemctl show -P Version >/dev/null && cat /proc/sys/kernel/random/boot_id"
    done = writers.rehearsal.exec(machine, script, check=False)
    return done.stdout.strip() if done.ok else ""
