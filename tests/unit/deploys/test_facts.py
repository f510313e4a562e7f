"""One round trip a run: what is asked, kept and forgotten."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploys.facts import machine
from deploys.facts.machine import ask, ask_first, covers, forget, merged


class FakeHost:
    """Answers each fact and counts the round trips."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        self.name = "primary"
        self.state = SimpleNamespace(is_executing=True)

    def get_fact(self, kind, areas, **options):
        self.asked.append((kind.__name__, areas))
        return self.answer


def test_questions_are_joined():
    assert merged({"files": ["b"], "sshd": True}, {"files": ["a", "b"], "nft": "t"}) == {
        "files": ["a", "b"],
        "sshd": True,
        "nft": "t",
    }
    with pytest.raises(ValueError, match="nft"):
        merged({"nft": "a"}, {"nft": "b"})


@pytest.mark.parametrize(
    ("question", "covered"),
    [({"files": ["a"]}, True), ({"files": ["a", "c"]}, False), ({"sshd": True}, True), ({"units": []}, False)],
)
def test_covers(question, covered):
    assert covers({"files": ["a", "b"], "sshd": True}, question) is covered


def test_a_run_that_changes_nothing_is_one_round_trip():
    host = FakeHost({"left": {}, "machine": {}})
    ask_first(host, {"machine": {}}, {"files": ["a"], "sshd": True})
    ask(host, files=["a"])
    ask(host, sshd=True)
    assert host.asked == [("FirstLook", "files,machine,sshd")]


def test_after_a_change_all_is_asked_again_at_once():
    host = FakeHost({"left": {}})
    ask_first(host, {"machine": {}}, {"files": ["a"], "sshd": True})
    forget(host)
    ask(host, files=["a"])
    ask(host, sshd=True)
    ask(host, files=["new"])
    assert [areas for _, areas in host.asked[1:]] == ["files,sshd", "files,sshd"]


def test_nothing_is_forgotten_while_a_run_is_only_prepared():
    host = FakeHost({"left": {}})
    ask(host, files=["a"])
    host.state.is_executing = False
    forget(host)
    ask(host, files=["a"])
    assert len(host.asked) == 1


def test_no_answer_is_an_error():
    with pytest.raises(machine.PyinfraError, match="cannot be read"):
        ask(FakeHost(None), files=["a"])


def test_the_answer_is_the_last_line():
    assert machine.Machine().process(["Welcome!", '{"left": {}}']) == {"left": {}}
