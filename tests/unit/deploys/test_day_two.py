"""The database cluster on day two: whose data lie where, what waits for a restart, in which order, and what is said."""

from __future__ import annotations

from subprocess import CompletedProcess
from typing import Any

import pytest

from bastide.errors import BastideError
from bastide.patroni import version_number
from deploys.commands import cluster as running
from deploys.etcd import beginning
from deploys.facts.fact import Facts
from deploys.facts.patroni import restart_waits
from deploys.postgres import data_guard
from deploys.remote import postgres as remote
from deploys.selection import a_site, adopted
from tests.unit.deploys.box import SETTINGS


def by_facts(seen: dict[str, Any]) -> dict[str, Facts]:
    return {name: Facts(answers) for name, answers in seen.items()}


def begins(seen: dict[str, Any], members: tuple[str, ...]) -> bool:
    return beginning.begins(by_facts(seen), members)


def not_apart(seen: dict[str, Any], members: tuple[str, ...]) -> list[str]:
    return beginning.not_apart(by_facts(seen), members)


def without_data(seen: dict[str, Any], members: tuple[str, ...]) -> frozenset[str]:
    return beginning.without_data(by_facts(seen), members)


def problems(seen: dict[str, Any], *more: Any) -> list[str]:
    return data_guard.problems(by_facts(seen), *more)


VOTERS = ("primary", "standby", "witness")
DATA = "/var/lib/postgresql/17/bastide"
OURS, THEIRS = "7712865550561956788", "7700000000000000001"


def member(name: str, role: str, state: str = "streaming", **more: object) -> dict[str, Any]:
    return {
        "name": name,
        "role": role,
        "state": state,
        "timeline": 3,
        "api_url": f"https://{name}:8008/patroni",
        **more,
    }


LEADER = member("primary", "leader", "running")
FOLLOWER = member("standby", "sync_standby", lag=0)


def site(data: str = OURS, *members: dict[str, Any], own: dict[str, Any] | None = None, pause: bool = False) -> Any:
    cluster = {"members": list(members), **({"pause": True} if pause else {})} if members else None
    return {
        "patroni": own,
        "cluster": cluster,
        "data": data,
        "installed": "postgres (PostgreSQL) 17.6 (Debian 17.6-1)",
        "outdated": "",
        "config": None,
        "knows": True,
    }


APART = {"apart": True, "trusts_both": False}


def machines(primary: Any, standby: Any, *, etcd: bool = True) -> dict[str, Any]:
    voter = {"etcd_member": {"data": etcd, "forming": False, "healthy": etcd, "members": [], **APART}}
    return {
        "primary": {"patroni": primary, **voter},
        "standby": {"patroni": standby, **voter},
        "witness": voter,
    }


RUNS = {"state": "running", "server_version": 170006}


def test_a_cluster_as_it_is_and_a_new_one_are_no_problem() -> None:
    both = (LEADER, FOLLOWER)
    assert problems(machines(site(OURS, *both), site(OURS, *both)), DATA, VOTERS) == []
    assert problems(machines(site(""), site(""), etcd=False), DATA, VOTERS) == []
    assert problems(machines(site(OURS, LEADER), site("")), DATA, VOTERS) == [], "a lost machine that was made again"


def test_the_data_of_another_cluster_are_refused_and_left_alone() -> None:
    (said,) = problems(machines(site(OURS, LEADER), site(THEIRS)), DATA, VOTERS)
    assert said == (
        f"standby: {DATA} holds the data of another cluster (system identifier {THEIRS}, this one's is {OURS}); it is "
        f"never wiped: see what it is, then `mv {DATA} {DATA}.aside` there"
    )


def test_data_without_a_cluster_in_etcd_are_taken_by_word_alone() -> None:
    seen = machines(site(OURS), site(""), etcd=False)
    (said,) = problems(seen, DATA, VOTERS)
    assert "no etcd member knows of a cluster; it is never wiped" in said
    assert "make deploy adopt=primary" in said
    assert problems(seen, DATA, VOTERS, "primary") == []
    (said,) = problems(machines(site(OURS), site(THEIRS), etcd=False), DATA, VOTERS, "primary")
    assert said.startswith("standby: "), "the other's data are still another's"
    assert len(problems(machines(site(OURS), site(THEIRS), etcd=False), DATA, VOTERS)) == 2


def test_voters_begin_together_or_not_at_all() -> None:
    seen = machines(site(""), site(""), etcd=False)
    assert begins(seen, VOTERS)
    assert not begins(machines(site(""), site("")), VOTERS)
    assert not begins({"standby": seen["standby"]}, VOTERS), "limit=standby: the others may have a cluster"
    assert not begins({}, ())


def test_what_a_killed_deploy_began_is_begun_again_unless_it_came_together_after_all() -> None:
    seen = machines(site(""), site(""), etcd=False)
    begun = {"data": True, "forming": True, "healthy": False, "members": [], **APART}
    assert begins({**seen, "primary": {"etcd_member": begun}}, VOTERS), "alone it would wait for a quorum for ever"
    assert begins({name: {"etcd_member": begun} for name in VOTERS}, VOTERS)
    assert not begins({**seen, "primary": {"etcd_member": {**begun, "healthy": True}}}, VOTERS), (
        "two of three came together"
    )
    assert not begins({**seen, "primary": {"etcd_member": {**begun, "forming": False}}}, VOTERS), (
        "a cluster that is down"
    )


def test_most_voters_are_not_exchanged_at_once() -> None:
    none = {"etcd_member": {"data": False, "forming": False, "healthy": False, "members": [], **APART}}
    seen = machines(site(OURS), site(OURS)) | {"third": none, "fourth": none}
    assert problems(seen, DATA, ("primary", "third", "witness")) == []
    (said,) = problems(seen, DATA, ("third", "fourth", "witness"))
    assert said.startswith(
        "primary, standby, witness vote today, and with etcd.voters: third, fourth, witness only wit"
    )
    assert problems({"standby": seen["standby"]}, DATA, ("third", "fourth", "witness")) == [], "limit=standby"
    assert problems(seen, DATA, ("primary",)) == [], "three become one"
    assert problems(seen, DATA, ("third",)) != [], "and that one knows nothing"
    five = dict.fromkeys(("third", "fourth"), seen["witness"])
    assert problems(seen | five, DATA, VOTERS) == [], "five become three"


def test_no_second_cluster_of_voters_begins_beside_one_whose_members_lost_their_vote() -> None:
    none = {"etcd_member": {"data": False, "forming": False, "healthy": False, "members": [], **APART}}
    seen = machines(site(OURS), site(OURS)) | dict.fromkeys(("third", "fourth", "witness"), none)
    assert not begins(seen, ("third", "fourth", "witness"))
    (said,) = problems(seen, DATA, ("third", "fourth", "witness"))
    assert "only nobody of them would stay" in said
    assert len(problems(seen, DATA, ("primary", "third", "witness"))) == 1, "the witness has lost its data"


def test_voters_are_told_from_clients_by_a_run_on_all_of_them() -> None:
    """One that trusts nobody else yet would be alone with what it shows."""
    seen = machines(site(OURS, LEADER, FOLLOWER), site(OURS, LEADER, FOLLOWER))
    shared = {"etcd_member": {**seen["witness"]["etcd_member"], "apart": False, "trusts_both": True}}
    assert not_apart({**seen, "standby": shared}, VOTERS) == ["standby"]
    assert problems({**seen, "witness": shared}, DATA, VOTERS) == []
    (said,) = problems({"witness": shared}, DATA, VOTERS)
    assert said.startswith("witness: its voter does not tell other voters from clients")
    assert problems({"witness": seen["witness"]}, DATA, VOTERS) == []


def test_nobody_waits_for_a_voter_that_holds_nothing() -> None:
    none = {"etcd_member": {"data": False, "forming": False, "healthy": False, "members": [], **APART}}
    seen = machines(site(OURS), site(OURS)) | {"standby": none}
    assert without_data(seen, VOTERS) == {"standby"}
    assert without_data({"primary": seen["primary"]}, VOTERS) == frozenset(), "who was not asked is waited for"


def test_two_machines_that_both_claim_to_hold_the_cluster_are_named() -> None:
    (said,) = problems(machines(site(OURS), site(THEIRS)), DATA, VOTERS)
    assert said.startswith("primary and standby hold the data of different clusters")
    assert OURS in said
    assert THEIRS in said


def test_half_a_copy_is_a_problem_unless_patroni_is_at_it() -> None:
    (said,) = problems(machines(site(OURS, LEADER), site("?")), DATA, VOTERS)
    assert said.startswith(f"standby: {DATA} holds no whole database; it is never wiped")
    assert (
        problems(machines(site(OURS, LEADER), site("?", LEADER, own={"state": "creating replica"})), DATA, VOTERS) == []
    )


def test_nothing_is_rolled_while_the_cluster_is_paused() -> None:
    waits = {**RUNS, "pending_restart": True}
    well = site(OURS, LEADER, FOLLOWER, own=RUNS, pause=True)
    assert problems(machines(well, well), DATA, VOTERS) == []
    (said,) = problems(machines(well, site(OURS, LEADER, FOLLOWER, own=waits, pause=True)), DATA, VOTERS)
    assert said == "standby: waits for a restart, and the cluster is paused; `make resume`"


def test_a_newer_program_waits_for_a_restart() -> None:
    assert not restart_waits(site(own=RUNS))
    assert restart_waits(site(own={**RUNS, "server_version": 170005}))
    assert restart_waits(site(own={**RUNS, "pending_restart": True}))
    unpacked: Any = {**site(own=RUNS), "outdated": "patroni"}
    assert restart_waits(unpacked), "the same release, unpacked again"
    assert not restart_waits(site(own=None)), "one that does not run is started by what follows"
    assert version_number("postgres (PostgreSQL) 17.6 (Debian 17.6-1)") == 170006
    assert version_number("postgres (PostgreSQL) 17.10") == 170010


class Patroni:
    """A cluster as `deploys/remote/postgres.py` meets it; `calls` is what was changed."""

    def __init__(self, *members: dict[str, Any], own: dict[str, Any] | None = None, pause: bool = False) -> None:
        self.members = list(members)
        self.own = {"state": "running", **(own or {})}
        self.leader_waits = True
        self.config: dict[str, Any] = {"synchronous_mode": True, **({"pause": True} if pause else {})}
        self.calls: list[tuple[str, str, Any]] = []

    def call(self, plan: dict[str, Any], method: str, path: str, body: object = None) -> Any:
        if path == "/patroni" and "primary" in plan.get("url", ""):
            return self.own if self.leader_waits else {"state": "running"}
        if method != "GET":
            self.calls.append((method, path, body))
        if path == "/switchover":
            self.members = [member("primary", "sync_standby"), member("standby", "leader", "running")]
        if path == "/restart":
            for one in self.members:
                one.pop("pending_restart", None)
        if (method, path) == ("PUT", "/config"):
            assert isinstance(body, dict)
            self.config = body
        if path == "/cluster":
            return {"members": self.members, **({"pause": True} if self.config.get("pause") else {})}
        return {"/config": self.config, "/patroni": self.own}.get(path)

    def started_again(self, words: tuple[str, ...], **_: object) -> CompletedProcess[str]:
        """systemctl, as it is called for Patroni itself."""
        self.calls.append(("", " ".join(words), None))
        self.own = {**self.own, "postmaster_start_time": "later"}
        return CompletedProcess([], 0, "", "")


def roll(
    monkeypatch: pytest.MonkeyPatch, patroni: Patroni, name: str, *, leads: bool, whole: bool = False
) -> list[str]:
    monkeypatch.setattr(remote, "_call", patroni.call)
    monkeypatch.setattr(remote.subprocess, "run", patroni.started_again)
    remote.roll({"name": name}, leads, whole)
    return [path for _, path, _ in patroni.calls]


def reason(old: int, new: int) -> dict[str, Any]:
    return {"pending_restart_reason": {"max_connections": {"old_value": str(old), "new_value": str(new)}}}


def test_a_raised_value_goes_to_replicas_first_and_a_leader_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own = reason(200, 250)
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "standby", leads=False) == ["/restart"]
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "primary", leads=False) == []
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "standby", leads=True) == []
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "primary", leads=True) == ["/switchover", "/restart"]


def test_a_newer_patroni_is_started_with_its_server_after_the_same_handover(monkeypatch: pytest.MonkeyPatch) -> None:
    again = "systemctl restart patroni.service"
    own = {"postmaster_start_time": "before"}
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "standby", leads=False, whole=True) == [again]
    done = roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "primary", leads=True, whole=True)
    assert done == ["/switchover", again]


def test_a_lowered_value_is_the_leaders_first_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    own = reason(200, 150)
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "standby", leads=False) == []
    assert roll(monkeypatch, Patroni(LEADER, FOLLOWER, own=own), "primary", leads=True) == ["/restart"]
    done = Patroni(LEADER, FOLLOWER, own=own)
    done.leader_waits = False
    assert roll(monkeypatch, done, "standby", leads=False) == ["/restart"], "the replicas' turn, after the leader's"


def test_a_leader_alone_restarts_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    patroni = Patroni(LEADER, own=reason(200, 250))
    assert roll(monkeypatch, patroni, "primary", leads=True) == ["/restart"]


def test_nothing_restarts_while_another_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_SECONDS", 0.0)
    monkeypatch.setattr(remote._wait, "__kwdefaults__", {"seconds": 0.0})
    patroni = Patroni(LEADER, member("standby", "replica", "starting"))
    with pytest.raises(SystemExit):
        roll(monkeypatch, patroni, "primary", leads=True)
    assert patroni.calls == []


def test_nothing_restarts_in_a_pause_and_a_deploy_does_not_end_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patroni = Patroni(LEADER, FOLLOWER, pause=True)
    with pytest.raises(SystemExit):
        roll(monkeypatch, patroni, "standby", leads=False)
    assert "next: `make resume`" in capsys.readouterr().err
    remote.share({"name": "primary"}, {"ttl": 20})
    assert patroni.config == {"ttl": 20, "pause": True}


@pytest.mark.parametrize(
    ("members", "force", "said"),
    [
        ((member("standby", "leader", "running"),), True, "standby leads: its data are the ones to copy"),
        ((member("primary", "replica", "stopped"), FOLLOWER), True, "nobody leads: these data may be the last ones"),
        ((LEADER, FOLLOWER), False, "standby is the only copy in sync with primary"),
    ],
)
def test_a_copy_that_may_be_needed_is_not_made_anew(
    members: tuple[dict[str, Any], ...],
    force: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patroni = Patroni(*members)
    monkeypatch.setattr(remote, "_call", patroni.call)
    with pytest.raises(SystemExit):
        remote.reinit({"name": "standby"}, force)
    error = capsys.readouterr().err
    assert said in error
    assert "next: " in error
    assert patroni.calls == []


def test_words_of_the_command_line_name_a_site() -> None:
    assert a_site("standby", SETTINGS, "to", "make switchover to=standby") == "standby"
    adopted(None, SETTINGS)
    for word in ("witness", "Standby", "standby; reboot", 7):
        with pytest.raises(BastideError, match="no machine of this name carries Postgres") as caught:
            a_site(word, SETTINGS, "machine", "make reinit machine=standby")
        assert caught.value.hint == "there are primary, standby"
    with pytest.raises(BastideError, match="which machine"):
        a_site(None, SETTINGS, "machine", "make reinit machine=standby")
    with pytest.raises(BastideError, match="adopt=witness"):
        adopted("witness", SETTINGS)


@pytest.mark.parametrize(
    ("seen", "to", "said"),
    [
        (site(OURS, member("primary", "replica", "stopped")), "", "nobody leads"),
        (site(OURS, LEADER, FOLLOWER, pause=True), "standby", "the cluster is paused"),
        (site(OURS, LEADER, FOLLOWER), "primary", "primary leads already"),
    ],
)
def test_nothing_is_handed_over_in_vain(seen: Any, to: str, said: str) -> None:
    with pytest.raises(BastideError, match=said) as caught:
        running.may_hand_over(seen, to)
    assert caught.value.hint


def said(name: str, **answers: Any) -> list[str]:
    return list(running.lines(name, Facts(answers)))


def test_the_account_of_the_cluster_names_what_is_not_well() -> None:
    slots = {"slots": [{"name": "standby", "active": False, "status": "lost", "kept": 3 * 2**20}]}
    lead = said("primary", patroni=site(OURS, LEADER, FOLLOWER, own=RUNS), replication=slots)
    assert lead == [
        "leads (running), timeline 3, PostgreSQL 17.6",
        " slot standby: nobody reads it, 3 MB kept; next: `make reinit machine=standby`",
    ]
    (follows,) = said("standby", patroni=site(OURS, LEADER, FOLLOWER, own=RUNS), replication=None)
    assert follows == "follows in sync (streaming), 0 MB behind, timeline 3, PostgreSQL 17.6"
    paused = said("primary", patroni=site(OURS, LEADER, own=RUNS, pause=True), replication=None)
    assert any("the cluster is paused" in line and "make resume" in line for line in paused)
    (silent,) = said("primary", patroni=site(OURS), replication=None)
    assert "Patroni does not answer here; next: " in silent
    one = {"Status": {"header": {"member_id": 10}, "leader": 11}}
    (votes,) = said(
        "witness", etcd_disk=None, etcd_members={"status": [one], "members": {"a": "witness", "b": "primary"}}
    )
    assert votes == "votes; 1 of 2 members answer, primary leads them; next: `make drift`: primary does not answer"


def test_a_slow_disk_of_a_voter_is_named_with_the_next_step() -> None:
    none: Any = {"status": [], "members": {}}
    quick, slow = (
        list(running.lines("witness", Facts({"etcd_members": none, "etcd_disk": {"log": log, "data": 0.0081}})))[-1]
        for log in (0.0042, 0.0471)
    )
    assert quick == " its disk, 99 of 100 writes since it was started: log 4 ms, data 8 ms"
    assert slow == (
        " its disk, 99 of 100 writes since it was started: log 47 ms, data 8 ms: SLOW (log over 10 ms), votes may come "
        "too late; next: docs/how-to/postgres.md#a-slow-voter"
    )
