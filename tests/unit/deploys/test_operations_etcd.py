"""Who may lose its vote, and when a machine may take away what it kept as a voter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from deploys.facts.fact import Facts
from deploys.operations import etcd

PEERS = {name: f"https://{name}:2380" for name in ("primary", "standby", "witness")}
PLAN: dict[str, Any] = {"peers": PEERS, "gone": ["/var/lib/etcd/bastide", "/etc/etcd"]}
NOTHING: dict[str, Any] = {"etcd_member": {"data": False, "active": False, "members": []}, "files": {"/etc/etcd": None}}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What machines say, one answer after the other; what the operations said; who was asked."""
    found = SimpleNamespace(answers=[], lines=[])

    def ask(_: object) -> Any:
        answer = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Facts(answer)

    host = SimpleNamespace(noop=found.lines.append, log_styled=lambda text, **_: found.lines.append(text))
    monkeypatch.setattr(etcd, "this_host", lambda: host)
    monkeypatch.setattr(etcd, "ask", ask)
    monkeypatch.setattr(etcd, "forget", lambda _: None)
    monkeypatch.setattr(etcd.gevent, "sleep", lambda _: None)
    found.host = host
    found.state = SimpleNamespace(inventory=SimpleNamespace(get_host=lambda name: name))
    return found


def members(*names: str) -> Any:
    return {"etcd_member": {"data": True, "active": True, "members": list(names)}, "files": {"/etc/etcd": {}}}


@pytest.mark.parametrize(
    ("seen", "changes"),
    [
        (members(*PEERS), False),
        (members("primary", "third", "witness"), True),
        (members("primary", "https://third:2380", "witness"), True),
        (members("primary", PEERS["standby"], "witness"), False),
        (members(), True),
        (NOTHING, False),
    ],
    ids=[
        "all vote",
        "another one",
        "another one, announced",
        "one of them, announced",
        "unknown",
        "it has lost its data",
    ],
)
def test_who_votes_no_more_is_dismissed(said: Any, seen: Any, changes: bool) -> None:
    said.answers = [seen]
    assert bool(list(etcd.dismiss._inner(plan=PLAN))) == changes


@pytest.mark.parametrize(
    ("answers", "goes"),
    [
        ([members(*PEERS)], True),
        ([members(*PEERS, "third")], False),
        ([members(*PEERS, "https://third:2380")], False),
        ([members()], False),
        ([members(), PyinfraError("no answer"), members(*PEERS)], True),
        ([PyinfraError("no answer")], False),
    ],
    ids=["not counted", "counted", "announced", "unknown", "known at last", "no answer"],
)
def test_nothing_of_a_voter_goes_before_its_cluster_counts_it_no_more(
    said: Any, answers: list[Any], goes: bool
) -> None:
    said.answers = answers
    assert etcd._counts_nobody_else(said.state, said.host, PEERS, "witness") == goes
    assert bool(said.lines) != goes, "why not is said"


def test_a_machine_with_nothing_of_a_voter_is_left_alone(said: Any) -> None:
    said.answers = [NOTHING]
    assert list(etcd.leave._inner(plan=PLAN, administrator="witness")) == []
    left: dict[str, Any]
    for left in ({"etcd_member": {**NOTHING["etcd_member"], "data": True}}, {"files": {"/etc/etcd": {}}}):
        said.answers = [NOTHING | left]
        proof, _ = etcd.leave._inner(plan=PLAN, administrator="witness")
        assert proof.function is etcd._counts_nobody_else, "before anything goes"
