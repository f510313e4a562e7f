"""One round trip a run: what is requested, kept and forgotten."""

from __future__ import annotations

import binascii
import importlib
import json
import pkgutil
import zlib
from types import SimpleNamespace

import pytest

from deploys import facts as nouns
from deploys import remote
from deploys.facts import ask as module
from deploys.facts.ask import ask, ask_first, forget
from deploys.facts.fact import Fact, covers, merged
from deploys.facts.files import FILES
from deploys.facts.machine import MACHINE
from deploys.facts.nftables import TABLES
from deploys.facts.packages import PACKAGES
from deploys.facts.patroni import PATRONI
from deploys.facts.sshd import SSHD
from deploys.facts.units import UNITS

ONE = MACHINE.request(
    {"ports": [], "timezone": "", "locale": "", "people": [], "lock_seconds": 0}
    | {"instead": [], "whole": {}, "own_rules": ""}
)


class FakeHost:
    """Answers each request and counts the round trips."""

    def __init__(self, answers):
        self.answers, self.asked, self.sent = answers, [], []
        self.name = "primary"
        self.state = SimpleNamespace(is_executing=True)

    def get_fact(self, kind, names, _stdin, **options):
        self.asked.append((kind.__name__, names))
        self.sent.append(_stdin.encode().decode())
        return self.answers


def test_requests_are_joined():
    files_and_more = merged(
        FILES.request(["b"]), SSHD.request(None), merged(FILES.request(["a", "b"]), TABLES.request(["t"]))
    )
    assert files_and_more == {FILES: ["a", "b"], SSHD: None, TABLES: ["t"]}
    with pytest.raises(ValueError, match="patroni"):
        merged(*(PATRONI.request({"url": url, "ca": "", "data": ""}) for url in ("a", "b")))


@pytest.mark.parametrize(
    ("request_", "covered"),
    [
        (FILES.request(["a"]), True),
        (FILES.request(["a", "c"]), False),
        (SSHD.request(None), True),
        (UNITS.request([]), False),
    ],
)
def test_covers(request_, covered):
    assert covers(merged(FILES.request(["a", "b"]), SSHD.request(None)), request_) is covered


def test_a_run_that_changes_nothing_is_one_round_trip():
    host = FakeHost({"machine": {}})
    ask_first(host, ONE, merged(FILES.request(["a"]), SSHD.request(None)))
    ask(host, FILES.request(["a"]))
    ask(host, SSHD.request(None))
    assert host.asked == [("FirstCollected", "files,machine,sshd")]


def test_after_a_change_all_is_asked_again_at_once():
    host = FakeHost({})
    ask_first(host, ONE, merged(FILES.request(["a"]), SSHD.request(None)))
    forget(host)
    ask(host, FILES.request(["a"]))
    ask(host, SSHD.request(None))
    ask(host, FILES.request(["new"]))
    assert [names for _, names in host.asked[1:]] == ["files,sshd", "files,sshd"]


def test_nothing_is_forgotten_while_a_run_is_only_prepared():
    host = FakeHost({})
    ask(host, FILES.request(["a"]))
    host.state.is_executing = False
    forget(host)
    ask(host, FILES.request(["a"]))
    assert len(host.asked) == 1


def test_only_the_scripts_of_what_is_asked_are_sent():
    host = FakeHost({})
    ask(host, FILES.request(["a"]), PACKAGES.request(["b"]))
    (sent,) = host.sent
    there = {name for _, name, _ in pkgutil.iter_modules(importlib.import_module("deploys.remote.facts").__path__)}
    (packed,) = [line for line in sent.splitlines() if line.startswith("SOURCES = ")]
    texts = eval(packed.removeprefix("SOURCES = "), {"json": json, "zlib": zlib, "binascii": binascii})
    assert {name for name in there if f"{remote.__name__}.facts.{name}" in texts} == {"common", "files", "packages"}


def test_no_answer_is_an_error():
    with pytest.raises(module.PyinfraError, match="cannot be read"):
        ask(FakeHost(None), FILES.request(["a"]))


def test_the_answer_is_the_last_line():
    assert module.Collected().process(["Welcome!", '{"sshd": {}}']) == {"sshd": {}}


def test_a_fact_that_was_not_requested_is_an_error():
    facts = ask(FakeHost({"sshd": {}}), SSHD.request(None))
    assert (SSHD in facts, FILES in facts, facts.get(FILES)) == (True, False, None)
    with pytest.raises(KeyError, match="files"):
        facts[FILES]


def test_each_fact_has_a_name_of_its_own_and_stands_in_the_script_of_its_noun():
    names = []
    for _, noun, _ in pkgutil.iter_modules(nouns.__path__):
        values = vars(importlib.import_module(f"deploys.facts.{noun}")).values()
        for fact in (value for value in values if isinstance(value, Fact) and noun not in ("ask", "fact")):
            assert fact.module == f"deploys.remote.facts.{noun}"
            names.append(fact.name)
    assert len(names) == len(set(names)) > 20
