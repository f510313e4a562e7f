"""The database cluster fails in many ways while a writer that never lies writes; then all is well by itself.

In zero-loss mode no acknowledged row may be missing afterwards, on either server; and never do two servers take rows at
the same time. Deadlines are generous where only a slow host would miss them: the figures are `make bench-failover`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rehearsal import outages
from tests.rehearsal.acknowledged import SITES, Writers
from tests.rehearsal.outages import Outage, other
from tests.rehearsal.published import publish
from tests.rehearsal.stack import Rehearsal
from tests.verify.evidence_plugin import commit

LAB = "database"

FOUND: list[Outage] = []


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal, request: pytest.FixtureRequest) -> Iterator[Writers]:
    """The writers of this module. Afterwards the primary leads again, and nothing of theirs is left."""
    found = Writers(rehearsal)
    found.healed()
    FOUND.clear()
    failed = request.session.testsfailed
    yield found
    if request.session.testsfailed == failed:  # a failure that did not come to its judgement may have lost rows
        publish(FOUND, commit(rehearsal.root), rehearsal.root)
    found.healed()
    found.switchover("primary")
    found.clear()


def judge(outage: Outage, *, within: float, servers: int) -> None:
    """No row lost, servers one after the other, and writes back in time."""
    FOUND.append(outage)
    print(outage)
    assert outage.lost == 0, outage
    assert outage.warned == 0, outage
    assert len(outage.reigns) == servers, outage
    assert outage.stopped < within, outage


def test_a_switchover_under_load_is_a_blink(writers: Writers) -> None:
    judge(outages.switchover(writers), within=10, servers=2)


def test_a_killed_postgres_is_back_or_replaced_in_seconds(writers: Writers) -> None:
    outage = outages.postgres_killed(writers)
    judge(outage, within=15, servers=len(set(outage.reigns)))


@pytest.mark.alone
def test_when_the_leader_loses_power_the_other_site_leads(writers: Writers) -> None:
    judge(outages.power_cut(writers), within=35, servers=2)


@pytest.mark.alone
def test_a_leader_that_is_cut_off_takes_no_more_writes_and_the_other_site_leads(writers: Writers) -> None:
    """Clients on both sites, those beside it too: whatever anybody was told is there in the end."""
    client = other(writers.leader())
    outage = outages.cut_off(writers)
    judge(outage, within=35, servers=2)
    assert outage.notes["writable"] == [client], outage


def test_without_a_quorum_nobody_leads_and_with_it_somebody_does(writers: Writers) -> None:
    """The witness and the standby lose power: what is left cannot know whether they lead without it."""
    leader = writers.leader()
    judge(outages.lost(writers, "witness", other(leader)), within=120, servers=1)


def test_all_three_come_back_from_a_reboot_at_once(writers: Writers) -> None:
    outage = outages.all_rebooted(writers)
    judge(outage, within=90, servers=len(set(outage.reigns)))


def test_a_leader_with_a_full_disk_can_hand_over_and_its_etcd_member_votes_on(writers: Writers) -> None:
    """It refuses rows and loses none; there is room again, and it follows without hands."""
    outage = outages.full_disk(writers)
    judge(outage, within=90, servers=2)
    assert outage.notes["members agree"]


def test_after_all_that_what_runs_is_what_is_declared(writers: Writers) -> None:
    """What leaderships, crashes, rewinds and a full disk leave behind is nothing that somebody set by hand."""
    controls = ("etcd-01", "postgres-02", "postgres-03", "postgres-11", "postgres-12")
    words = [word for control in controls for word in ("--control", control)]
    writers.rehearsal.verify(*words, "--evidence", str(writers.rehearsal.build / "afterwards.json"))


@pytest.mark.full("outages")
def test_when_the_leader_of_both_loses_power_it_only_takes_longer(writers: Writers) -> None:
    """etcd elects first, and lets every lease live its whole time again."""
    judge(outages.power_cut(writers, with_etcd=True), within=50, servers=2)


@pytest.mark.full("outages")
def test_a_postgres_that_stands_still_is_left_behind(writers: Writers) -> None:
    judge(outages.postgres_stopped(writers), within=60, servers=2)


@pytest.mark.full("outages")
def test_a_server_that_does_not_come_down_is_killed(writers: Writers) -> None:
    """PostgreSQL 17 does not, told to stop while it recovers from a crash; Patroni by itself waits for ever."""
    outage = outages.never_down(writers)
    assert outage.stopped > 20, f"it came down: {outage}"
    judge(outage, within=60, servers=2)


@pytest.mark.full("outages")
@pytest.mark.parametrize("which", ["witness", "standby"])
def test_one_of_the_others_may_go(writers: Writers, which: str) -> None:
    """Writes wait for a dead standby only until it is not waited for any more."""
    lost = which if which == "witness" else other(writers.leader())
    judge(outages.lost(writers, lost), within=5 if which == "witness" else 35, servers=1)


@pytest.mark.full("outages")
def test_sites_that_lose_each_other_keep_their_leader(writers: Writers) -> None:
    outage = outages.sites_apart(writers)
    judge(outage, within=60, servers=1)
    assert outage.notes["leader kept"], outage


@pytest.mark.full("outages")
@pytest.mark.parametrize(("delay", "loss"), [("20ms", ""), ("100ms", ""), ("20ms", "1%")])
def test_a_slow_line_moves_nobody(writers: Writers, delay: str, loss: str) -> None:
    outage = outages.slow_lines(writers, delay, loss)
    judge(outage, within=5, servers=1)
    assert outage.notes["leader kept"], outage


@pytest.mark.full("outages")
def test_a_deploy_in_the_midst_of_a_failover_says_so_and_the_next_one_is_silent(writers: Writers) -> None:
    leader = writers.leader()
    outage, said = outages.deploy_during(writers)
    judge(outage, within=60, servers=2)
    assert outage.notes["deploy"] != 0, "a machine is missing, and nobody was told"
    assert f"[{leader}]" in said
    assert "Traceback" not in said, said[-2000:]
    writers.rehearsal.deploy()
    assert writers.rehearsal.dry() == {}


@pytest.mark.full("outages")
def test_a_leader_that_dies_in_a_deploy_is_deployed_by_the_next_one(writers: Writers) -> None:
    outage, said = outages.dies_in_a_deploy(writers)
    # the one that took over still waits for its restart: the next deploy hands back and does it
    judge(outage, within=60, servers=3)
    assert "Traceback" not in said, said[-2000:]
    writers.rehearsal.deploy()
    assert writers.rehearsal.dry() == {}


@pytest.mark.full("clocks")
def test_a_wrong_clock_moves_nobody_and_loses_nothing(writers: Writers) -> None:
    """An hour: who leads is decided by leases that etcd counts down, not by anybody's calendar."""
    outage = outages.wrong_clock(writers, 3600)
    assert [round(seconds, -2) for seconds in outage.notes["ahead"]] == [3600], outage
    judge(outage, within=10, servers=3)


@pytest.mark.full("clocks")
def test_a_leader_in_another_hour_may_die(writers: Writers) -> None:
    outage = outages.wrong_clock(writers, -3600, crash=True)
    assert [round(seconds, -2) for seconds in outage.notes["ahead"]] == [-3600, -3600], outage
    judge(outage, within=35, servers=3)


@pytest.mark.full("clocks")
def test_clients_that_are_cut_off_move_nobody(writers: Writers) -> None:
    """Only who leads is the cluster's to decide; whoever reaches the leader goes on, and the others once they do."""
    outage = outages.clients_cut_off(writers)
    judge(outage, within=5, servers=1)
    assert outage.notes["leader kept"], outage
    assert outage.notes["their wait"] > 20, "the cut was none"


@pytest.mark.full("clocks")
def test_when_the_leader_of_both_loses_its_followers_nobody_leads(writers: Writers) -> None:
    leader = writers.leader()
    judge(outages.lost(writers, "witness", other(leader), leads_etcd=True), within=120, servers=1)


@pytest.mark.full("clocks")
def test_in_fast_mode_what_was_lost_is_counted(writers: Writers) -> None:
    """It promises less, and how much less is shown; all is well again all the same."""
    rehearsal = writers.rehearsal
    with rehearsal.settings_changed("postgres.durability", "fast"):
        rehearsal.deploy()
        fast = Writers(rehearsal)
        outage = outages.power_cut(fast)
        print(f"in fast mode {outage.lost} of {outage.acknowledged} acknowledged rows were lost: {outage}")
        assert len(outage.reigns) == 2, outage
        assert outage.stopped < 35, outage
    rehearsal.deploy()
    writers.healed()


def test_both_sites_have_the_same_rows_in_the_end(writers: Writers) -> None:
    """Whoever was rewound or made anew follows, and checksums hold."""
    writers.healed()
    for site in SITES:
        assert writers.sql(site, "select coalesce(sum(checksum_failures), 0) from pg_stat_database") == "0"
