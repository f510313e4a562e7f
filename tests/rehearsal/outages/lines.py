"""The lines between machines are cut, or slow."""

from __future__ import annotations

import time

from bastide.layout.postgres import PORT as POSTGRES
from tests.rehearsal.acknowledged import SITES, Writers
from tests.rehearsal.outages.model import Outage, Watch, other
from tests.rehearsal.stack import wait_for


def cut_off(writers: Writers) -> Outage:
    """The leader's machine is cut off from everything, and its own clients go on asking it."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "leader cut off from the others", client, leader)
    with watch.failing(**{client: 20, leader: 30}):
        writers.rehearsal.lab("block", leader)
        try:
            writers.taken_over(client, writers.settings.mesh[leader], seconds=90)
            # the clients beside it were told nothing since: neither yes, nor yes later
            watch.notes["writable"] = writers.writable()
        finally:
            writers.rehearsal.lab("unblock", leader)
    return watch.outage


def clients_cut_off(writers: Writers) -> Outage:
    """The other site's clients do not reach the leader, all else does: nobody is replaced, and they wait."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, "clients of the other site cut off from the leader", leader, client)
    table = "inet rehearsal_clients"
    way = f"meta skuid haproxy ip daddr {writers.settings.mesh[leader]} tcp dport {POSTGRES}"
    with watch.failing(**dict.fromkeys(SITES, 30)):
        try:
            writers.rehearsal.exec(
                client,
                f"nft add table {table}; nft add chain {table} output '{{ type filter hook output priority 0; }}'; "
                f"nft add rule {table} output {way} drop",
            )
            # longer than any lease lives
            wait_for(lambda: time.monotonic() > watch.since + 25, "25 s without the other site's clients")
            watch.notes["leader kept"] = writers.leader() == leader
        finally:
            writers.rehearsal.exec(client, f"nft delete table {table}")
    watch.outage.notes["their wait"] = round(watch.told.stopped(client, watch.since), 1)
    return watch.outage


def sites_apart(writers: Writers) -> Outage:
    """The two sites do not reach each other, and both reach the witness: the leader goes on, alone."""
    leader = writers.leader()
    watch = Watch(writers, "the sites cut off from each other", leader, other(leader))
    with watch.failing(**dict.fromkeys(SITES, 30)):
        writers.rehearsal.lab("block", *SITES)
        try:
            writers.goes_on(leader, seconds=60)
            watch.notes["leader kept"] = writers.leader() == leader
        finally:
            writers.rehearsal.lab("unblock", *SITES)
    return watch.outage


def slow_lines(writers: Writers, delay: str, loss: str = "") -> Outage:
    """The sites are far from each other."""
    leader = writers.leader()
    client = other(leader)
    watch = Watch(writers, f"{delay} {loss} between the sites".replace("  ", " "), client)
    with watch.failing():
        writers.rehearsal.lab("slow", *SITES, delay, *([loss] if loss else []))
        try:
            # what making them slow took is none of it
            watch.begins()
            wait_for(lambda: time.monotonic() > watch.since + 30, "30 s on slow lines", seconds=40)
            watch.notes["leader kept"] = writers.leader() == leader
        finally:
            writers.rehearsal.lab("unslow", *SITES)
    return watch.outage
