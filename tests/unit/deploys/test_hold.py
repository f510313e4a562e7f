"""Who deploys to a machine: recorded for as long as that ssh session lives, and nobody has to give it back."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pyinfra.connectors.util import CommandOutput, OutputLine

from bastide import hold as script
from deploys.operations import hold as operation
from tests.unit.deploys.operating import Fake


@pytest.fixture
def record(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "proc").symlink_to("/proc")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    return tmp_path / "run" / "bastide-deploy.json"


@pytest.fixture
def other():
    """Somebody else's session that lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def test_the_first_one_has_it_and_may_ask_again(record, capsys):
    script.hold("anna@laptop")
    script.hold("anna@laptop")
    assert capsys.readouterr().out == "{}\n{}\n"
    assert json.loads(record.read_text())["who"] == "anna@laptop"
    assert record.stat().st_mode & 0o777 == 0o600


def test_a_living_session_keeps_others_out(record, other, capsys):
    held = {"who": "bruno@desk", "since": 7, "session": [other.pid, script.started(other.pid)]}
    record.write_text(json.dumps(held))
    script.hold("anna@laptop")
    assert json.loads(capsys.readouterr().out) == held
    assert json.loads(record.read_text()) == held


def test_a_run_gives_back_what_it_holds_by_a_session_that_was_cut_off(record, other, capsys):
    held = {"who": "anna@laptop", "since": 7, "session": [other.pid, script.started(other.pid)], "run": "one"}
    record.write_text(json.dumps(held))
    script.release("another")
    assert json.loads(record.read_text()) == held
    script.release("one")
    script.hold("anna@laptop", "two")
    assert capsys.readouterr().out == "{}\n"
    assert json.loads(record.read_text())["run"] == "two"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"who": "x", "session": [1]}', '{"who": "x", "session": [1, 1]}'])
def test_who_is_gone_or_was_never_written_whole_holds_nothing(record, capsys, text):
    record.write_text(text)  # process 1 lives, but did not start at tick 1
    script.hold("anna@laptop")
    assert capsys.readouterr().out == "{}\n"
    assert json.loads(record.read_text())["who"] == "anna@laptop"


def test_a_number_that_another_process_has_by_now_is_not_the_session(record, other):
    assert script.alive([other.pid, script.started(other.pid)])
    assert not script.alive([other.pid, script.started(other.pid) - 1])


class _Meta:
    def __init__(self, will_change):
        self.will_change = will_change


@pytest.fixture
def host(monkeypatch):
    fake = Fake(name="standby", in_op=True, current_op_hash="me", current_op_global_arguments={}, said=[])
    fake.current_op_deploy_data = None
    fake.answer = "{}"
    fake.asked = 0

    def run_shell_command(*command, **arguments):
        fake.asked += 1
        return True, CommandOutput([OutputLine("stdout", fake.answer)])

    fake.run_shell_command = run_shell_command
    fake.log_styled = lambda text, **style: fake.said.append(text)
    fake.state = Fake(is_executing=True, ops={fake: {"me": Fake(), "other": Fake(operation_meta=_Meta(True))}})
    monkeypatch.setattr(operation, "this_host", lambda: fake)
    return fake


def test_a_run_that_changes_nothing_holds_nothing(host):
    host.state.ops[host]["other"].operation_meta = _Meta(False)
    assert list(operation.hold._inner()) == []
    assert host.asked == 0


def test_a_dry_run_holds_nothing(host):
    host.state.is_executing = False
    assert list(operation.hold._inner()) == []
    assert host.asked == 0


def test_a_run_that_changes_something_holds_first_and_counts_as_no_change(host):
    assert list(operation.hold._inner()) == []
    assert host.asked == 1
    assert (host.in_op, host.current_op_hash) == (True, "me")


def test_somebody_else_is_named_with_what_to_do(host):
    host.answer = json.dumps({"who": "bruno@desk", "since": 0, "session": [7, 7]})
    (refusal,) = operation.hold._inner()
    assert refusal.function(host.state, host) is False
    assert "bruno@desk deploys to it since" in host.said[0]
    assert "nothing has been changed" in host.said[0]
    assert "next: wait" in host.said[1]
