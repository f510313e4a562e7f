"""Host keys, strict from the first connection on, however a run was cut off (see hosts_box.py)."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.errors import HostKeyError, StackError
from hosts.enrolment import first_contact
from hosts.enrolment.root_script import SCRIPT
from hosts.transport import client, known_hosts
from hosts.transport.client import HostKeyRefused, MachineUnreachable
from tests.unit.hosts.box import OTHER, Box

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen (openssh-client)")


def records(goal: first_contact.Target) -> dict[str, known_hosts.Record]:
    return known_hosts.read_records(goal.known_hosts)


def enrolled(goal: first_contact.Target, box: Box) -> None:
    """What must hold at the end of every enrolment, however it went."""
    record = records(goal)[goal.alias]
    assert record.final
    assert record.key == box.public() != goal.bootstrap()
    private = box.folder / "etc/ssh/ssh_host_ed25519_key"
    assert sorted(path.name for path in private.parent.iterdir()) == [private.name, f"{private.name}.pub"]
    assert private.with_suffix(".pub").read_text().strip() == record.key
    assert private.stat().st_mode & 0o777 == 0o600
    assert 'cloud_init_modules: ["seed", "users"]' in (box.folder / "etc/cloud/cloud.cfg.d/99-bastide.cfg").read_text()


def go(goal: first_contact.Target, **options: float) -> list[str]:
    said: list[str] = []
    first_contact.open_strictly(goal, said.append, **options).close()
    return said


def test_a_new_server_is_enrolled_and_then_known(goal: first_contact.Target, box: Box) -> None:
    assert any("is recorded" in line for line in go(goal))
    enrolled(goal, box)
    assert box.commands == ["make", "switch"]
    assert go(goal) == []
    assert box.commands == ["make", "switch"], "a known machine is not touched again"


def test_commands_are_sent_at_once(goal: first_contact.Target, box: Box) -> None:
    with contextlib.closing(first_contact.open_strictly(goal, print)) as connection:
        transport = connection.get_transport()
        assert transport is not None
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # type: ignore[union-attr]
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)  # type: ignore[union-attr]


def test_an_unknown_key_is_refused_before_any_login(goal: first_contact.Target, box: Box) -> None:
    with pytest.raises(HostKeyError, match="neither recorded nor its bootstrap key"):
        go(replace(goal, bootstrap=lambda: OTHER))
    assert box.logins == []
    assert not records(goal)


def test_another_key_than_the_recorded_one_is_refused_and_never_learned(goal: first_contact.Target, box: Box) -> None:
    final = known_hosts.Record(goal.alias, OTHER, 1)
    known_hosts.write_record(goal.known_hosts, goal.lock, final)
    with pytest.raises(HostKeyError, match="shows its bootstrap host key, as after a reinstallation"):
        go(goal)
    with pytest.raises(HostKeyError, match="shows another host key"):
        go(replace(goal, bootstrap=lambda: OTHER))
    assert box.logins == []
    assert records(goal) == {goal.alias: final}


def test_a_new_id_retires_the_old_record_aloud(goal: first_contact.Target, box: Box) -> None:
    old = known_hosts.Record(known_hosts.alias("unit", "primary", "16"), OTHER, 1)
    other = known_hosts.Record(known_hosts.alias("unit", "standby", "16"), OTHER, 1)
    for record in (old, other):
        known_hosts.write_record(goal.known_hosts, goal.lock, record)
    assert any("bastide-unit-primary-16" in line and "retired" in line for line in go(goal))
    assert set(records(goal)) == {goal.alias, other.alias}


class Killed(BaseException):
    """kill -9, as seen from inside."""


@pytest.mark.parametrize("point", ["before the pending record", "before the switch", "before the final record"])
def test_a_run_that_was_killed_is_completed_by_the_next(
    goal: first_contact.Target, box: Box, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    write, on_machine, made = known_hosts.write_record, first_contact._on_machine, []

    def dying_write(path: Path, lock: Path, record: known_hosts.Record) -> list[known_hosts.Record]:
        made.append(record.key)
        if point == ("before the final record" if record.final else "before the pending record"):
            raise Killed
        return write(path, lock, record)

    def dying_on_machine(
        target: first_contact.Target, connection: client.PinnedClient, phase: str, bootstrap: str
    ) -> str:
        if phase == "switch" and point == "before the switch":
            raise Killed
        return on_machine(target, connection, phase, bootstrap)

    with monkeypatch.context() as patch:
        patch.setattr(known_hosts, "write_record", dying_write)
        patch.setattr(first_contact, "_on_machine", dying_on_machine)
        with pytest.raises(Killed):
            go(goal)
    there = records(goal).get(goal.alias)
    assert there is None or not there.final
    go(goal)
    enrolled(goal, box)
    assert records(goal)[goal.alias].key == made[0], "the key that was made first is kept"


SWITCH = SCRIPT.split("switch)\n")[1].split("    ;;\nesac")[0].splitlines()
COMMANDS = [
    number
    for number, line in enumerate(SWITCH, 1)
    # a kill cannot stand inside a `case` or a here-document
    if not line.strip().startswith(("#", "case")) and not re.match(r"END|import|modules|print", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_machine_that_dies_while_it_switches_is_completed(goal: first_contact.Target, box: Box, line: int) -> None:
    def phase(name: str) -> str:
        done = box.perform(SCRIPT, name, goal.bootstrap())
        return done.stdout.strip() if done.returncode == 0 else "killed"

    key = phase("make")
    box.die_before_line = line
    assert phase("switch") == "killed"
    box.die_before_line = 0
    box.reload()  # the machine comes up again with what is on its disk
    assert box.public() in (key, goal.bootstrap()), "one of the two that a pending record accepts"
    assert [phase("make"), phase("switch")] == [key, key]
    known_hosts.write_record(goal.known_hosts, goal.lock, known_hosts.Record(goal.alias, key, 1))
    enrolled(goal, box)


@pytest.mark.parametrize("phase", ["make", "switch"])
def test_a_lost_connection_is_said_and_the_next_run_goes_on(goal: first_contact.Target, box: Box, phase: str) -> None:
    box.hang_up = phase
    with pytest.raises(MachineUnreachable) as caught:
        go(goal)
    assert "run the same command again" in caught.value.hint
    box.hang_up = ""
    go(goal)
    enrolled(goal, box)


def test_cloud_init_that_failed_is_shown_and_nothing_is_recorded(goal: first_contact.Target, box: Box) -> None:
    box.stand_in("cloud-init", 'case $2 in --wait) exit 1;; --long) echo "detail: no such module";; esac')
    with pytest.raises(MachineUnreachable, match="no such module"):
        go(goal)
    assert not records(goal)
    box.stand_in("cloud-init", "exit 2")  # done, with warnings
    go(goal)
    enrolled(goal, box)


def test_a_pending_record_does_not_let_a_third_key_in(goal: first_contact.Target, box: Box) -> None:
    known_hosts.write_record(goal.known_hosts, goal.lock, known_hosts.Record(goal.alias, OTHER, 1, final=False))
    with pytest.raises(HostKeyError):
        go(replace(goal, bootstrap=lambda: OTHER))
    assert box.logins == []


def test_a_refused_login_while_booting_is_tried_again(
    goal: first_contact.Target, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOGIN_PAUSES", (0.01, 0.01))
    box.refuse_logins = 1
    assert any("no way in yet" in line for line in go(goal))
    box.refuse_logins = 9
    with pytest.raises(MachineUnreachable, match="refuses the user bastide with the key"):
        go(goal)


def test_a_machine_that_does_not_come_up_is_said_with_the_next_step(goal: first_contact.Target, box: Box) -> None:
    box.listener.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    gone = replace(goal, endpoint=replace(goal.endpoint, ports=(free,)))
    with pytest.raises(MachineUnreachable, match="gave no way in within 1 s: connection refused") as caught:
        go(gone, wait=1.0)
    assert caught.value.hint == "look there"


def test_a_moved_port_is_found_while_the_image_still_listens_on_its_own(goal: first_contact.Target, box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    go(replace(goal, endpoint=replace(goal.endpoint, ports=(free, box.port))))
    enrolled(goal, box)


def test_a_server_that_is_no_ssh_server_is_said(goal: first_contact.Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        port: int = listener.getsockname()[1]
        with pytest.raises(MachineUnreachable, match="gave no way in"):
            go(replace(goal, endpoint=replace(goal.endpoint, ports=(port,))), wait=1.0)


def test_without_a_keyring_only_recorded_machines_are_reached(goal: first_contact.Target) -> None:
    def none() -> str:
        raise StackError("primary has no recorded host key yet")

    with pytest.raises(StackError, match="no recorded host key"):
        go(replace(goal, bootstrap=none))


def test_refused_keys_are_named(goal: first_contact.Target, box: Box) -> None:
    with pytest.raises(HostKeyRefused) as caught:
        client.connect(goal.endpoint, (OTHER,), wait=5)
    assert caught.value.shown == box.public()


def test_identities_that_cannot_be_used(tmp_path: Path, identity: Path) -> None:
    with pytest.raises(StackError, match="does not exist"):
        client.load_identity(tmp_path / "none")
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(StackError, match="not a private ssh key"):
        client.load_identity(tmp_path / "junk")
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "geheim", "-f", locked], check=True)
    with pytest.raises(StackError, match="has a passphrase"):
        client.load_identity(locked)
    client.check_identity(identity, identity.with_suffix(".pub").read_text())
    with pytest.raises(StackError, match=r"is not the private key of settings\.users"):
        client.check_identity(identity, OTHER)
