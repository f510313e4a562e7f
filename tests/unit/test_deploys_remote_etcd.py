"""How a voter that was lost comes in again: in place of what it was, and told once only."""

from __future__ import annotations

import json
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
