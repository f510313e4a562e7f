"""Commands through the lasting root process, and pyinfra's way to them (see hosts_box.py)."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from hosts.enrolment import first_contact
from hosts.transport import connector, known_hosts
from hosts.transport.runner import Runner
from tests.unit.hosts.box import KEYRING, OTHER, Box

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen (openssh-client)")


@pytest.fixture
def runner(goal: first_contact.Target, box: Box) -> Iterator[Runner]:
    with contextlib.closing(first_contact.open_strictly(goal, print)) as connection:
        yield Runner(connection)


def said(runner: Runner, command: str, timeout: float | None = None) -> tuple[int, list[tuple[str, str]]]:
    lines: list[tuple[str, str]] = []
    code = runner.run(command, lambda stream, line: lines.append((stream, line)), timeout)
    return code, lines


def test_a_root_process_gives_both_outputs_and_the_exit_code(runner: Runner) -> None:
    assert said(runner, "echo one; echo two; exit 3") == (3, [("stdout", "one"), ("stdout", "two")])
    assert said(runner, "echo wrong >&2") == (0, [("stderr", "wrong")])
    assert said(runner, "printf 'no end of line'") == (0, [("stdout", "no end of line")])
    assert said(runner, "printf 'a\\377b\\n\\n'") == (0, [("stdout", "a\N{REPLACEMENT CHARACTER}b"), ("stdout", "")])
    assert said(runner, "kill -9 $$")[0] == 137
    assert said(runner, "true") == (0, [])
    assert said(runner, "cat") == (0, []), "there is no input"
    code, lines = said(runner, "seq 100000")
    assert (code, len(lines), lines[-1]) == (0, 100000, ("stdout", "100000"))


def test_a_root_process_keeps_nothing_from_one_command_to_the_next(runner: Runner) -> None:
    said(runner, "cd /tmp; export LEFT=behind; umask 0")
    assert said(runner, 'echo "$LEFT"') == (0, [("stdout", "")])
    assert said(runner, 'echo "$SUDO_COMMAND"') == (0, [("stdout", "")])


def test_a_command_that_takes_too_long_ends_the_root_process_but_not_the_command(
    runner: Runner, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TimeoutError):
        said(runner, f"read line <{tmp_path}/pipe; echo done >{tmp_path}/done", 0.2)
    assert runner.closed
    (tmp_path / "pipe").write_text("go\n")
    wait_for(tmp_path / "done")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def test_a_lost_root_process_is_said(runner: Runner) -> None:
    with pytest.raises(paramiko.SSHException, match="the connection is lost"):
        said(runner, "kill -9 $PPID")
    assert runner.closed


@pytest.fixture
def host(goal: first_contact.Target, box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    monkeypatch.setattr(connector, "target", lambda *given: goal)
    monkeypatch.chdir(tmp_path)
    data = {"stack": "unit", "settings": None, "machine": goal.machine, "keyring": KEYRING}
    inventory = Inventory(([("@bastide/primary", data)], {}), primary=(["@bastide/primary"], {}))
    State(inventory, Config())
    found: Host = inventory.get_host("primary")
    return found


def test_pyinfra_finds_the_connector_and_runs_commands_through_it(host: Host, box: Box) -> None:
    assert [one.name for one in host.inventory.get_group("primary")] == ["primary"]
    host.connect(raise_exceptions=True)
    enrolled_commands = len(box.commands)
    for _ in range(2):
        done, output = host.run_shell_command(StringCommand("echo", "here"), _sudo=True, _shell_executable="sh")
        assert (done, output.stdout_lines) == (True, ["here"])
    done, output = host.run_shell_command("exit 4", _sudo=True, _success_exit_codes=[4])
    assert done
    assert box.commands[enrolled_commands:] == ["sudo -H -n python3"], "one process for all of them"
    done, output = host.run_shell_command("cat", _sudo=True, _stdin="given")
    assert output.stdout_lines == ["given"], "with input it goes the stock way"
    host.disconnect()
    host.connect(raise_exceptions=True)
    assert host.run_shell_command("true", _sudo=True)[0]
    host.disconnect()


def test_without_python_on_the_machine_commands_go_the_stock_way(host: Host, box: Box) -> None:
    box.no_python = True
    host.connect(raise_exceptions=True)
    for _ in range(2):
        done, output = host.run_shell_command("echo here", _sudo=True)
        assert (done, output.stdout_lines) == (True, ["here"])
    assert box.commands[-3:] == ["sudo -H -n python3", "sudo -H -n sh", "sudo -H -n sh"]
    host.disconnect()


def test_what_goes_wrong_is_said_in_pyinfras_words(host: Host, goal: first_contact.Target) -> None:
    known_hosts.write_record(goal.known_hosts, goal.lock, known_hosts.Record(goal.alias, OTHER, 1))
    with pytest.raises(ConnectError, match=r"shows its bootstrap host key.*; next: .*Compare at the console"):
        host.connect(show_errors=False, raise_exceptions=True)
    assert not host.connected
