"""The pool, whatever HAProxy believes: who comes to write is never given a server that only reads."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from bastide.console import Completed
from bastide.layout.postgres import ROUTER_CONFIG
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"

_WHERE = "select pg_is_in_recovery()"
_ENDED = "journalctl -q -u patroni -o cat | grep -c 'terminating connection due to administrator command' || true"


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster. Afterwards the primary leads again."""
    yield from lent(rehearsal)


@pytest.mark.parametrize("pool", ["", "_session"])
def test_who_is_led_to_a_replica_waits_for_the_leader(rehearsal: Rehearsal, writers: Writers, pool: str) -> None:
    """As in a handover for as long as HAProxy's look at the earlier leader is not answered; here until it is mended."""
    leader = writers.leader()
    (replica,) = set(SITES) - {leader}
    before = int(rehearsal.exec(replica, _ENDED).stdout)
    # without looking, and to the replica alone: what stands in the section of the leader's port
    astray = f"/^listen leader/,/^listen replicas/{{/server {leader} /d; s/ check port .*$//}}"
    answers: list[Completed] = []
    rehearsal.exec(
        leader, f"cp -p {ROUTER_CONFIG} /run/as-it-was; sed -i '{astray}' {ROUTER_CONFIG}; systemctl reload haproxy"
    )
    try:
        # connections of before are let go, so that the pool makes new ones
        rehearsal.exec(leader, "systemctl restart pgbouncer")
        client = Thread(target=lambda: answers.append(writers.pooled(leader, f"{writers.database}{pool}", _WHERE)))
        client.start()
        wait_for(
            lambda: int(rehearsal.exec(replica, _ENDED).stdout) > before or bool(answers),
            "the pool came to the replica, whose connection ended itself",
        )
    finally:
        rehearsal.exec(leader, f"mv /run/as-it-was {ROUTER_CONFIG}; systemctl reload haproxy")
    client.join()
    assert (answers[0].stdout.strip(), answers[0].stderr) == ("f", "")
