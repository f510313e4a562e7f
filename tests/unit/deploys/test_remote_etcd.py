"""How a voter that was lost comes in again: in place of what it was, and told once only."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.remote import etcd, etcdctl
from deploys.remote.facts import common
from deploys.remote.facts import etcd as on_machine
from deploys.remote.facts.etcd import quantile

PLAN: dict[str, Any] = {
    "name": "standby",
    "peers": {name: f"https://{name}:2380" for name in ("primary", "standby", "witness")},
    "endpoints": {name: f"https://{name}:2379" for name in ("primary", "standby", "witness")},
    "root": ["new", "old"],
    "dismisses": True,
}


class Members:
    """The list of members as etcdctl keeps it, and what was changed in it."""

    def __init__(self, *names: str, expected: str = "") -> None:
        self.members = [
            {"ID": 10 + n, "name": name, "peerURLs": [f"https://{name}:2380"]} for n, name in enumerate(names)
        ]
        if expected:
            self.members.append({"ID": 99, "peerURLs": [PLAN["peers"][expected]]})
        self.changes: list[tuple[str, ...]] = []
        self.unsettled = 0

    def run(
        self, plan: dict[str, Any], words: tuple[str, ...], env: dict[str, str], stdin: object
    ) -> subprocess.CompletedProcess[str]:
        del plan, stdin
        if env != {"ETCDCTL_PASSWORD": "old"}:
            return subprocess.CompletedProcess(words, 1, "", "authentication failed")
        if words[0].startswith("--"):
            assert words[0] == "--endpoints=https://primary:2379,https://witness:2379", "its own does not answer"
            words = words[1:]
        if "list" in words:
            return subprocess.CompletedProcess(words, 0, json.dumps({"members": self.members}), "")
        if self.unsettled:
            self.unsettled -= 1
            return subprocess.CompletedProcess(words, 1, "", "etcdserver: unhealthy cluster")
        self.changes.append(words)
        if "remove" in words:
            self.members = [one for one in self.members if format(one["ID"], "x") != words[-1]]
        if "add" in words:
            self.members.append({"ID": 77, "peerURLs": [words[-1].removeprefix("--peer-urls=")]})
        return subprocess.CompletedProcess(words, 0, "", "")


def admitted(folder: Path, plan: dict[str, Any]) -> dict[str, str]:
    """The members that one is told when it is let in."""
    env = folder / "join.env"
    etcd._admit(plan | {"env": str(env), "begins": False, "token": "bastide-prod"})
    assert "ETCD_INITIAL_CLUSTER_STATE=existing\n" in env.read_text()
    line = env.read_text().splitlines()[0].removeprefix("ETCD_INITIAL_CLUSTER=")
    return dict(pair.split("=", 1) for pair in line.split(","))


def answer_by(monkeypatch: pytest.MonkeyPatch, members: Members) -> None:
    for module in (etcd, etcdctl):
        monkeypatch.setattr(module, "run", members.run)


def test_one_that_lost_its_data_takes_the_place_of_what_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members = Members("primary", "standby", "witness")
    answer_by(monkeypatch, members)
    assert admitted(tmp_path, PLAN) == PLAN["peers"]
    assert members.changes == [
        ("member", "remove", "b"),
        ("member", "add", "standby", "--peer-urls=https://standby:2380"),
    ]


def test_one_that_is_new_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members = Members("primary", "witness")
    answer_by(monkeypatch, members)
    assert admitted(tmp_path, PLAN) == PLAN["peers"]
    assert [words[:2] for words in members.changes] == [("member", "add")]


def test_one_that_an_earlier_run_told_is_not_told_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members = Members("primary", "witness", expected="standby")
    answer_by(monkeypatch, members)
    assert admitted(tmp_path, PLAN) == PLAN["peers"]
    assert members.changes == []


def test_who_has_no_vote_any_more_goes_before_another_comes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """etcd takes nobody in while a member does not answer, and one that left for good never does."""
    members = Members("primary", "third", "witness")
    answer_by(monkeypatch, members)
    assert admitted(tmp_path, PLAN) == PLAN["peers"]
    assert members.changes == [
        ("member", "remove", "b"),
        ("member", "add", "standby", "--peer-urls=https://standby:2380"),
    ]


def test_a_run_on_some_machines_dismisses_nobody_and_makes_no_even_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    members = Members("primary", "third", "witness")
    answer_by(monkeypatch, members)
    with pytest.raises(SystemExit):
        admitted(tmp_path, PLAN | {"dismisses": False})
    assert members.changes == []
    assert capsys.readouterr().err == "the members count third still; next: `make deploy` for all machines\n"
    lost = Members("primary", "standby", "witness")
    answer_by(monkeypatch, lost)
    admitted(tmp_path, PLAN | {"dismisses": False})
    assert [words[1] for words in lost.changes] == ["remove", "add"], "one that lost its data comes back by limit="


def test_a_change_waits_until_the_one_before_has_settled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """etcd takes one change after the other, and the next one when all members have heard each other for a while."""
    members = Members("primary", "third", "witness")
    members.unsettled = 3
    answer_by(monkeypatch, members)
    monkeypatch.setattr(etcd.time, "sleep", lambda _: None)
    etcd.dismiss(PLAN)
    assert members.changes == [("member", "remove", "b")]
    members.members.append({"ID": 88, "peerURLs": ["https://third:2380"]})
    members.unsettled = 10**9
    monkeypatch.setattr(etcd, "_SETTLE_SECONDS", 0)
    with pytest.raises(SystemExit):
        etcd.dismiss(PLAN)
    assert "etcdctl member remove 58: etcdserver: unhealthy cluster" in capsys.readouterr().err


def test_who_is_gone_goes_before_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """From three voters to one, when one of the others is gone already."""
    members = Members("standby", "third", "primary")
    plain = members.run

    def run(plan: Any, words: tuple[str, ...], env: Any, stdin: Any) -> subprocess.CompletedProcess[str]:
        third_is_there = any(one["name"] == "third" for one in members.members)
        if words[-2:] == ("remove", "a") and third_is_there:
            return subprocess.CompletedProcess(words, 1, "", "etcdserver: unhealthy cluster")
        return plain(plan, words, env, stdin)

    members.run = run  # type: ignore[method-assign]
    answer_by(monkeypatch, members)
    etcd.dismiss(PLAN | {"peers": {"primary": PLAN["peers"]["primary"]}})
    assert members.changes == [("member", "remove", "b"), ("member", "remove", "a")]


def test_nobody_with_a_vote_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members("primary", "third", "witness", expected="standby")
    members.members.append({"ID": 88, "peerURLs": ["https://third:2380"]})
    answer_by(monkeypatch, members)
    etcd.dismiss(PLAN)
    assert members.changes == [("member", "remove", "b"), ("member", "remove", "58")]
    etcd.dismiss(PLAN)
    assert len(members.changes) == 2


def test_a_member_that_left_is_stopped_before_anything_of_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("data", "folder")]
    for folder in folders:
        (folder / "inner").mkdir(parents=True)
    words: list[list[str]] = []
    codes = {"disable": 1}

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        words.append(argv)
        return subprocess.CompletedProcess(argv, codes.get(argv[1], 0), "loaded" if argv[1] == "show" else "", "no")

    monkeypatch.setattr(etcd.subprocess, "run", run)
    plan = {"units": ["etcd.service"], "gone": [*map(str, folders), str(tmp_path / "never-was")]}
    with pytest.raises(SystemExit):
        etcd.leave(plan)
    assert all(folder.exists() for folder in folders)
    codes.clear()
    etcd.leave(plan)
    assert not any(folder.exists() for folder in folders)
    assert ["systemctl", "disable", "-q", "--now", "etcd.service"] in words


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The plan of a member whose files are here, and whose unit nobody starts."""

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 3 if "is-active" in words else 0, "", "")

    monkeypatch.setattr(etcd.subprocess, "run", run)
    monkeypatch.setattr(etcd, "_has_left", lambda _: False)
    monkeypatch.setattr(etcd, "_admit", lambda plan: etcd._tell(plan, PLAN["peers"]))
    monkeypatch.setattr(etcd, "as_root", lambda *_: ("password", None))
    monkeypatch.setattr(etcd, "_until_started", lambda _: None)
    return PLAN | {
        "begins": True,
        "token": "bastide-prod",
        "unit": "etcd.service",
        "ctl": "bastide-etcdctl",
        **{name: str(tmp_path / name) for name in ("data", "env", "forming")},
    }


def test_one_that_begins_says_so_until_all_have_come_together(machine: dict[str, Any]) -> None:
    etcd.join(machine)
    assert Path(machine["forming"]).exists()
    assert "ETCD_INITIAL_CLUSTER_STATE=new\n" in Path(machine["env"]).read_text()


def test_what_was_begun_with_other_members_is_begun_anew(machine: dict[str, Any]) -> None:
    etcd.join(machine)
    member = Path(machine["data"]) / "member"
    member.mkdir(parents=True)
    etcd.join(machine)
    assert member.exists(), "the same members: it only waits for them"
    etcd.join(machine | {"peers": PLAN["peers"] | {"standby": "https://elsewhere:2380"}})
    assert not member.exists()
    assert "elsewhere" in Path(machine["env"]).read_text()


def test_only_who_begins_takes_data_away(machine: dict[str, Any]) -> None:
    etcd.join(machine)
    member = Path(machine["data"]) / "member"
    member.mkdir(parents=True)
    etcd.join(machine | {"begins": False, "peers": PLAN["peers"] | {"standby": "https://elsewhere:2380"}})
    assert member.exists()


def test_one_that_is_let_in_is_not_forming(machine: dict[str, Any]) -> None:
    Path(machine["forming"]).touch()
    etcd.join(machine | {"begins": False})
    assert not Path(machine["forming"]).exists()
    assert "ETCD_INITIAL_CLUSTER_STATE=existing\n" in Path(machine["env"]).read_text()


def test_a_cluster_of_one_that_waits_for_this_member_is_not_asked_again(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no quorum from the announcement on: a run that was killed there is completed by starting the member."""
    announced: list[object] = []

    def admit(plan: dict[str, Any]) -> None:
        announced.append(plan)
        etcd._tell(plan, PLAN["peers"])

    monkeypatch.setattr(etcd, "_admit", admit)
    etcd.join(machine | {"begins": False})
    assert len(announced) == 1
    monkeypatch.setattr(etcd, "as_root", lambda *_: ("", None))
    etcd.join(machine | {"begins": False})
    assert len(announced) == 1
    assert "ETCD_INITIAL_CLUSTER_STATE=existing\n" in Path(machine["env"]).read_text()


def test_data_are_not_taken_from_under_a_member_that_does_not_stop(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd.join(machine)
    member = Path(machine["data"]) / "member"
    member.mkdir(parents=True)
    failed = subprocess.CompletedProcess([], 1, "", "it does not stop")
    monkeypatch.setattr(etcd.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit):
        etcd.join(machine | {"peers": PLAN["peers"] | {"standby": "https://elsewhere:2380"}})
    assert member.exists()


@pytest.mark.parametrize(
    ("names", "passwords", "left"),
    [
        (("primary", "third", "witness"), ["new", "old"], True),
        (("primary", "standby", "witness"), ["new", "old"], False),
        (("primary", "third", "witness"), ["neither"], False),
    ],
    ids=["not counted", "counted", "nobody answers"],
)
def test_data_of_a_membership_that_has_ended_are_known(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], passwords: list[str], left: bool
) -> None:
    answer_by(monkeypatch, Members(*names))
    assert etcd._has_left(PLAN | {"root": passwords}) == left


def test_data_of_a_membership_that_has_ended_do_not_keep_it_out(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Path(machine["data"]) / "member"
    member.mkdir(parents=True)
    monkeypatch.setattr(etcd, "_has_left", lambda _: True)
    etcd.join(machine)
    assert member.exists(), "one that begins asks nobody"
    etcd.join(machine | {"begins": False})
    assert not member.exists()


def test_data_of_a_cluster_that_came_together_are_never_taken_away(machine: dict[str, Any]) -> None:
    etcd.join(machine)
    Path(machine["forming"]).unlink()
    member = Path(machine["data"]) / "member"
    member.mkdir(parents=True)
    etcd.join(machine | {"peers": PLAN["peers"] | {"standby": "https://elsewhere:2380"}})
    assert member.exists()


@pytest.mark.parametrize(
    ("environ", "apart"),
    [
        ("ETCD_NAME=a\0ETCD_PEER_CERT_FILE=/etc/etcd/peer.crt\0", True),
        ("ETCD_NAME=a\0ETCD_PEER_CERT_FILE=/etc/etcd/server.crt\0", False),
        ("", True),
    ],
    ids=["its own", "the one for clients", "it does not run"],
)
def test_what_a_member_shows_others_is_told_by_the_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: str, apart: bool
) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(on_machine, "output", lambda *_words: "ActiveState=active\nMainPID=12\n")
    (tmp_path / "proc/12").mkdir(parents=True)
    (tmp_path / "proc/12/environ").write_text(environ)
    (tmp_path / "etc/etcd").mkdir(parents=True)
    files = ["/etc/etcd/ca.crt", "/etc/etcd/peer-ca.crt"]
    asked: Any = {"data": "/x", "forming": "/y", "health": "", "folder": "/etc/etcd", "ctl": ""}
    asked |= {"peer": "/etc/etcd/peer.crt", "authorities": files}

    def trusts_both() -> bool:
        seen = on_machine.etcd_member(asked)
        assert seen["apart"] == apart
        return seen["trusts_both"]

    assert not trusts_both(), "a machine that is new trusts nobody"
    (tmp_path / "etc/etcd/ca.crt").write_text("clients")
    assert trusts_both(), "before 0033 there was one authority"
    (tmp_path / "etc/etcd/peer-ca.crt").write_text("clients")
    assert trusts_both()
    (tmp_path / "etc/etcd/peer-ca.crt").write_text("members")
    assert not trusts_both()


# as etcd 3.5.16 counts (`curl https://.../metrics`), buckets above 0.064 left out where nothing came to them
METRICS = """\
# HELP etcd_disk_wal_fsync_duration_seconds The latency distributions of fsync called by WAL.
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 700
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 900
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 980
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.008"} 1000
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 1000
etcd_disk_wal_fsync_duration_seconds_sum 0.9
etcd_disk_wal_fsync_duration_seconds_count 1000
etcd_disk_backend_commit_duration_seconds_bucket{le="0.032"} 90
etcd_disk_backend_commit_duration_seconds_bucket{le="8.192"} 98
etcd_disk_backend_commit_duration_seconds_bucket{le="+Inf"} 100
etcd_debugging_none_bucket{le="0.1"} 0
etcd_debugging_none_bucket{le="+Inf"} 0
"""


@pytest.mark.parametrize(
    ("name", "share", "wanted"),
    [
        ("etcd_disk_wal_fsync_duration_seconds", 0.99, 0.006),
        ("etcd_disk_wal_fsync_duration_seconds", 0.35, 0.0005),
        ("etcd_disk_wal_fsync_duration_seconds", 1.0, 0.008),
        # beyond the last bound nobody knows how far
        ("etcd_disk_backend_commit_duration_seconds", 0.99, 8.192),
        ("etcd_debugging_none", 0.99, None),
        ("etcd_disk_wal_fsync", 0.99, None),
    ],
)
def test_how_long_a_disk_takes_is_estimated_from_what_the_member_counts(
    name: str, share: float, wanted: float | None
) -> None:
    found = quantile(METRICS, name, share)
    assert found == (None if wanted is None else pytest.approx(wanted))
