"""The database cluster on day two: looked at, handed over, paused, changed by rolling, a copy made again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from bastide.console import run
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.day_two import begun, day_two, said
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster, and clients that write. Afterwards the primary leads again."""
    yield from lent(rehearsal)


def status(rehearsal: Rehearsal) -> str:
    """The line about the cluster in `make status`."""
    words = ["python", "-m", "hosts", "status", "--stack", rehearsal.stack]
    done = run(words, cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=60)
    (line,) = [line for line in done.stdout.splitlines() if " cluster: " in line]
    return line


def set_to(writers: Writers) -> dict[str, str]:
    """How many connections each server takes."""
    return {site: writers.sql(site, "show max_connections") for site in SITES}


@pytest.mark.alone
def test_a_handover_is_a_wait_and_no_error(rehearsal: Rehearsal, writers: Writers) -> None:
    """Applications on both sites that can wait for five seconds see nothing else of it."""
    before = writers.leader()
    with writers.writing(*SITES, patience=5):
        done = day_two(rehearsal, "switchover")
        for site in SITES:
            writers.goes_on(site, seconds=10)
        told = writers.told()
    assert writers.leader() != before
    # a pool whose clients do not end in time is not paused, and says so
    assert told.unknown == {}, f"{told.reasons}\n{said(done)}"
    assert writers.missing(told) == []
    print(f"nobody was answered for {max(told.stopped(site) for site in SITES):.2f} s")
    writers.healed()


def test_common_drivers_connect_and_a_session_is_kept(writers: Writers) -> None:
    """What JDBC, Go and Node send at the start; and a connection of one's own, for locks, LISTEN and dumps."""
    name = writers.database
    drivers = "-c statement_timeout=30s -c lock_timeout=5s -c extra_float_digits=3"
    assert writers.pooled("standby", name, "select 1", drivers).stdout.strip() == "1"
    refused = writers.pooled("standby", name, "select 1", "-c search_path=other")
    assert "search_path" in refused.stderr
    kept = "select pg_advisory_lock(42); listen news; select count(*) from pg_locks where locktype = 'advisory'"
    assert writers.pooled("standby", f"{name}_session", kept).stdout.split()[-1] == "1"
    assert not writers.pooled("standby", "pgbouncer", "show pools").ok, "its console is its own account's"


def test_how_it_is_stands_in_two_places(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    assert f"✓ cluster: {leader} leads, " in status(rehearsal)
    assert " follows in sync, 0 MB behind, 3 voters well" in status(rehearsal)
    text = said(day_two(rehearsal, "cluster_status"))
    assert f"[{leader}] leads (running)" in text
    assert "follows in sync (streaming), 0 MB behind" in text
    assert "slot " in text
    assert f"[{leader}] votes; 3 of 3 members answer" in text
    assert "[witness] votes" in text  # it has no password to ask the others with


def test_it_is_handed_over_by_word(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    refused = day_two(rehearsal, "switchover", f"to={leader}", check=False)
    assert not refused.ok
    assert f"{leader} leads already" in said(refused)
    assert "next: " in said(refused)
    done = day_two(rehearsal, "switchover", f"to={other}")
    assert f"[{leader}] {leader} has handed over; next: `make cluster`" in said(done)
    assert writers.leader() == other
    writers.healed()


@pytest.mark.full("outages")
def test_a_voter_with_a_slow_disk_is_named_and_nobody_waits_for_it(rehearsal: Rehearsal, writers: Writers) -> None:
    """The stand-in for a slow disk: strace(1) holds up each of the member's calls that wait for the disk."""
    machine, slow = "standby", "rehearsal-slow-disk"
    calls = "fdatasync,fsync"
    trace = f"strace -f -qq -o /dev/null -e trace={calls} -e inject={calls}:delay_enter=400000"
    rehearsal.exec(machine, "apt-get -qq update && apt-get -qq -y install strace >/dev/null", timeout=300)
    leader = writers.leader()
    with writers.writing(*SITES):
        # what it counted before is of the quick disk
        rehearsal.exec(
            machine,
            f"systemctl restart etcd && systemd-run -q --unit={slow} {trace} -p $(systemctl show -P MainPID etcd)",
        )
        try:
            # a lab's own disk may be slow as well, but not by 400 ms each time
            named = re.compile(rf"\[{machine}\]  its disk.*: log (\d+) ms.*SLOW.*next: .*#a-slow-voter")

            def is_named() -> bool:
                found = named.search(said(day_two(rehearsal, "cluster_status")))
                return found is not None and int(found[1]) > 250

            wait_for(is_named, "it is named", seconds=90)
            for site in SITES:
                writers.goes_on(site, seconds=10)
        finally:
            rehearsal.exec(machine, f"systemctl stop {slow}; systemctl restart etcd")
        told = writers.told()
    assert (writers.leader(), told.unknown) == (leader, {}), told.reasons
    assert writers.missing(told) == []
    writers.healed()


@pytest.mark.full("faults")
def test_a_pause_is_not_forgotten(rehearsal: Rehearsal, writers: Writers) -> None:
    assert "next: `make resume` as soon as you are done" in said(day_two(rehearsal, "pause"))
    try:
        assert "PAUSED: nobody takes over when the leader fails" in status(rehearsal)
        assert f"next: `make resume stack={rehearsal.stack}`" in status(rehearsal)
        refused = day_two(rehearsal, "switchover", check=False)
        assert "the cluster is paused" in said(refused)
        with rehearsal.settings_changed("postgres.max_connections", 210):
            before = begun(writers)
            done = rehearsal.deploy("--data", "only=postgres", check=False)
            assert not done.ok
            assert "note: the cluster is paused" in said(done)
            assert "the cluster is paused: nothing is restarted" in said(done)
            assert "PAUSED" in status(rehearsal), "a deploy ended the pause"
            assert begun(writers) == before
    finally:
        day_two(rehearsal, "resume")
    assert "PAUSED" not in status(rehearsal)
    # back to what it was: nothing waits any more
    rehearsal.deploy("--data", "only=postgres")
    assert begun(writers) == before


def test_a_changed_setting_rolls_through_in_one_deploy(rehearsal: Rehearsal, writers: Writers) -> None:
    """Raised: replicas, a switchover, the former leader. Lowered: the leader in its place first, as Postgres wants it.

    Somebody writes all the while from beside the standby, and loses nothing that was acknowledged.
    """
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    before = begun(writers)
    writers_began = time.monotonic()
    with writers.writing(other):
        with rehearsal.settings_changed("postgres.max_connections", 220):
            rehearsal.deploy("--data", "only=postgres")
            assert set_to(writers) == dict.fromkeys(SITES, "220")
            after = begun(writers)
            assert all(after[site] != before[site] for site in SITES)
            assert after[other] < after[leader], "the leader went first"
            assert writers.leader() == other, "nobody is handed back: the next switchover would be for nothing"
        writers.healed()
        rehearsal.deploy("--data", "only=postgres")
        assert set_to(writers) == dict.fromkeys(SITES, "200")
        assert writers.leader() == other
        assert rehearsal.dry("--data", "only=postgres") == {}
        writers.goes_on(other, seconds=20)
    told = writers.told()
    assert writers.missing(told) == []
    assert told.stopped(other, writers_began) < 15
    writers.healed()


def test_a_copy_is_made_anew_by_name_and_not_the_only_one(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    assert "its data are the ones to copy" in said(day_two(rehearsal, "reinit", f"replica={leader}", check=False))
    assert "the only copy in sync" in said(day_two(rehearsal, "reinit", f"replica={other}", check=False))
    assert "which machine?" in said(day_two(rehearsal, "reinit", check=False))
    before = writers.sql(other, "select pg_postmaster_start_time()")
    day_two(rehearsal, "reinit", f"replica={other}", "force=1")
    assert writers.sql(other, "select pg_postmaster_start_time()") != before
    writers.healed()
