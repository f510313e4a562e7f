"""How a voter that was lost comes in again: in place of what it was, and told once only."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.remote import etcd

PLAN: dict[str, Any] = {
    "name": "standby",
    "peers": {name: f"https://{name}:2380" for name in ("primary", "standby", "witness")},
    "endpoints": {name: f"https://{name}:2379" for name in ("primary", "standby", "witness")},
}


class Members:
    """The list of members as etcdctl keeps it, and what was changed in it."""

    def __init__(self, *names: str, expected: str = "") -> None:
        self.members = [{"ID": 10 + n, "name": name, "peerURLs": [PLAN["peers"][name]]} for n, name in enumerate(names)]
        if expected:
            self.members.append({"ID": 99, "peerURLs": [PLAN["peers"][expected]]})
        self.changes: list[tuple[str, ...]] = []

    def ctl(self, plan: dict[str, Any], *words: str, **_: object) -> str:
        del plan
        assert words[0] == "--endpoints=https://primary:2379,https://witness:2379", "its own does not answer"
        if "list" in words:
            return json.dumps({"members": self.members})
        self.changes.append(words[1:])
        if "remove" in words:
            self.members = [one for one in self.members if format(one["ID"], "x") != words[-1]]
        if "add" in words:
            self.members.append({"ID": 77, "peerURLs": [words[-1].removeprefix("--peer-urls=")]})
        return ""


def test_one_that_lost_its_data_takes_the_place_of_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members("primary", "standby", "witness")
    monkeypatch.setattr(etcd, "_ctl", members.ctl)
    assert etcd._admitted(PLAN) == PLAN["peers"]
    assert members.changes == [
        ("member", "remove", "b"),
        ("member", "add", "standby", "--peer-urls=https://standby:2380"),
    ]


def test_one_that_is_new_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members("primary", "witness")
    monkeypatch.setattr(etcd, "_ctl", members.ctl)
    assert etcd._admitted(PLAN) == PLAN["peers"]
    assert [words[:2] for words in members.changes] == [("member", "add")]


def test_one_that_an_earlier_run_told_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members("primary", "witness", expected="standby")
    monkeypatch.setattr(etcd, "_ctl", members.ctl)
    assert etcd._admitted(PLAN) == PLAN["peers"]
    assert members.changes == []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The plan of a member whose files are here, and whose unit nobody starts."""

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 3 if "is-active" in words else 0, "", "")

    monkeypatch.setattr(etcd.subprocess, "run", run)
    monkeypatch.setattr(etcd, "_admitted", lambda _: PLAN["peers"])
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


def test_data_of_a_cluster_that_came_together_are_never_taken_away(machine: dict[str, Any]) -> None:
    etcd.join(machine)
    Path(machine["forming"]).unlink()
    member = Path(machine["data"]) / "member"
    member.mkdir(parents=True)
    etcd.join(machine | {"peers": PLAN["peers"] | {"standby": "https://elsewhere:2380"}})
    assert member.exists()
