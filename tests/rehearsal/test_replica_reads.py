"""A long read on a replica meets what the leader cleans up: cancelled, or the leader waits, as the stack file says."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bastide.console import Completed
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"

_READ = """
begin isolation level repeatable read;
select count(*) from long_reads;
select pg_sleep(6);
select count(*) from long_reads;
commit;
"""
_AT_WORK = "select count(*) from pg_stat_activity where query = 'select pg_sleep(6);' and state = 'active'"


@pytest.fixture
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The cluster, with a table to read."""
    for found in lent(rehearsal):
        found.sql(found.leader(), "create table long_reads as select generate_series(1, 1000) x")
        yield found
        found.sql(found.leader(), "drop table long_reads")


def read_and_cleaned(writers: Writers) -> Completed:
    """What a read on a replica says while the leader cleans up what it reads."""
    leader = writers.leader()
    (replica,) = set(SITES) - {leader}
    words = f"timeout 30 runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d '{writers.database}' -f -"
    there = (
        f"select pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '{writers.sql(leader, 'select pg_current_wal_lsn()')}') >= 0"
    )
    wait_for(lambda: writers.sql(replica, there) == "t", "the replica has the table")
    with ThreadPoolExecutor() as pool:
        read = pool.submit(writers.rehearsal.exec, replica, words, input=_READ, check=False)
        wait_for(lambda: writers.sql(replica, _AT_WORK) != "0", "somebody reads")
        writers.sql(leader, "delete from long_reads where x > 500; vacuum long_reads")
        return read.result()


def test_a_long_read_is_cancelled_or_the_leader_waits(rehearsal: Rehearsal, writers: Writers) -> None:
    short = {"max_standby_streaming_delay_seconds": 1, "hot_standby_feedback": False}
    with rehearsal.settings_changed("postgres.replica_reads", short):
        rehearsal.deploy("--data", "only=postgres")
        done = read_and_cleaned(writers)
        assert "conflict with recovery" in done.stderr, done.stdout + done.stderr
    with rehearsal.settings_changed("postgres.replica_reads", {**short, "hot_standby_feedback": True}):
        rehearsal.deploy("--data", "only=postgres")
        writers.sql(writers.leader(), "insert into long_reads select generate_series(501, 1000)")
        done = read_and_cleaned(writers)
        assert done.ok, done.stderr
        assert done.stdout.split() == ["1000", "1000"]
    rehearsal.deploy("--data", "only=postgres")
    assert rehearsal.dry("--data", "only=postgres") == {}
