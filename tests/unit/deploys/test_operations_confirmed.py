"""From facts to commands, without a machine: what could lock out holds when a new login came."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploys.operations import confirmed, files
from tests.unit.deploys.operating import NOTHING, seen, sent


@pytest.mark.parametrize(
    ("drift", "left", "applies"),
    [("", NOTHING, False), ("changed by hand", NOTHING, True), ("", {"pending": [], "guard": ["ssh"]}, True)],
)
def test_guarded(host, drift, left, applies):
    host.answer = {"files": {"/etc/one": seen(b"new")}, "unfinished": left}
    wanted = (files.File("/etc/one", "new"),)
    made = list(confirmed.confirmed._inner("ssh", wanted, "settle", 22, drift))
    assert bool(made) is applies
    if applies:
        plan, seconds = sent(made[0])
        assert [file["path"] for file in plan["files"]] == ["/etc/one"]  # all of them: all can be taken back
        assert seconds > confirmed.LOGIN_SECONDS
        assert made[1].args == ("ssh", 22)


class Connector:
    """A new connection that answers what the test says, in turn."""

    turns: ClassVar[list[object]] = []

    def __init__(self, state, host):
        self.data, self.client = {}, None

    def connect(self):
        self.turn = self.turns.pop(0)
        if isinstance(self.turn, Exception):
            raise self.turn

    def run_shell_command(self, command, **arguments):
        return self.turn


def output(worked, text):
    return worked, CommandOutput([OutputLine("stdout" if worked else "stderr", text)])


@pytest.fixture
def knocked(host, monkeypatch):
    told = []
    host.connector_cls = Connector
    host.log_styled = lambda text, **options: told.append(text)
    host.run_shell_command = lambda *arguments, **options: output(True, "")
    monkeypatch.setattr(confirmed.gevent, "sleep", lambda seconds: None)
    monkeypatch.setattr(confirmed, "_port_in_use", lambda host: 22)
    return told


def test_a_new_login_confirms(host, knocked):
    Connector.turns = [OSError(), output(True, "")]  # the first knock comes while sshd starts; str(OSError()) is ""
    assert confirmed._confirm(None, host, "ssh", 22) is True
    assert knocked == []


def test_what_moves_no_port_is_tried_where_this_run_came_in(host, knocked):
    """On a new machine sshd still listens on 22, whatever settings.ssh.port says."""
    seen = []

    class Seeing(Connector):
        def connect(self):
            seen.append(self.data["ssh_port"])
            super().connect()

    host.connector_cls = Seeing
    Connector.turns = [output(True, "")]
    assert confirmed._confirm(None, host, "users", None) is True
    assert seen == [22]


def test_without_a_new_login_the_old_state_is_waited_for(host, knocked, monkeypatch):
    monkeypatch.setattr(confirmed, "LOGIN_SECONDS", 0.05)
    armed = json.dumps({"armed": True, "taken_back": None})
    back = json.dumps({"armed": False, "taken_back": {"reason": "no new login"}})

    asked = []

    class Later(Connector):
        def connect(self):
            if knocked:  # the taking back has begun
                self.turn = self.turns.pop(0)
            else:
                raise OSError("timed out")

        def run_shell_command(self, command, **arguments):
            asked.append(str(arguments["_stdin"]))
            return super().run_shell_command(command)

    Later.turns = [output(True, armed), output(True, back), output(True, "")]
    host.connector_cls = Later
    assert confirmed._confirm(None, host, "ssh", 22) is False
    assert knocked[0] == "ssh: no new login within 0.05 s (timed out); taking it back"
    assert knocked[1] == "ssh: the old state is back (no new login)"
    # the session that holds the machine may be cut off: the next run does not wait for its end
    assert asked == ["<change.report>", "<change.report>", "<hold.release>"]
