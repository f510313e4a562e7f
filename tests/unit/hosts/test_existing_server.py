"""A server that somebody else made: one accepted host key from the first packet on, however a run was cut off."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.errors import HostKeyError
from bastide.settings import ExistingServer
from hosts.enrolment import existing_server, first_contact
from hosts.transport import client, known_hosts
from hosts.transport.client import LoginRefused, MachineUnreachable
from tests.unit.hosts.box import OTHER, Box

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen (openssh-client)")


@pytest.fixture
def theirs(box: Box, goal: first_contact.Target, identity: Path) -> first_contact.Target:
    """The box as somebody else's machine, and how it is reached."""
    box.belongs_to_somebody_else()
    return declared(goal, box.public(), identity)


def declared(goal: first_contact.Target, host_key: str, identity: Path) -> first_contact.Target:
    server = ExistingServer.model_validate(
        {
            "provider": "existing",
            "role": "primary",
            "hoster": "OVH",
            "city": "Gravelines",
            "country": "FR",
            "address": "192.0.2.17",
            "host_key": host_key,
            "user": "debian",
        }
    )
    first = existing_server.FirstContact(server, identity.with_suffix(".pub").read_text().strip())
    return replace(goal, machine=replace(goal.machine, id=server.id), first=first)


def go(goal: first_contact.Target) -> list[str]:
    said: list[str] = []
    first_contact.open_strictly(goal, said.append, wait=5.0).close()
    return said


def enrolled(goal: first_contact.Target, box: Box) -> None:
    """What must hold at the end of every first contact, however it went."""
    assert goal.first
    record = known_hosts.read_records(goal.known_hosts)[goal.alias]
    assert record.final
    assert record.key == box.public() == goal.first.server.host_key, "its own key stays"
    private = box.folder / "etc/ssh/ssh_host_ed25519_key"
    assert sorted(path.name for path in private.parent.iterdir()) == [private.name, f"{private.name}.pub"]
    assert (box.folder / "etc/sudoers.d/bastide").read_text() == "bastide ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert (box.folder / "home/.ssh/authorized_keys").read_text() == f"{goal.first.key}\n"
    assert [path.name for path in (box.folder / "home/.ssh").iterdir()] == ["authorized_keys"]


def test_it_gets_the_account_and_is_then_known(theirs: first_contact.Target, box: Box) -> None:
    said = go(theirs)
    assert any("logging in as debian" in line for line in said)
    assert any("its declared host key SHA256:" in line for line in said)
    enrolled(theirs, box)
    assert box.commands == ["account", "switch"]
    before = len(box.logins)
    assert go(theirs) == []
    assert box.logins[before:] == ["bastide"], "the first user is needed once"
    assert box.commands == ["account", "switch"]


def test_another_key_than_the_declared_one_is_refused_before_any_login(
    theirs: first_contact.Target, box: Box, identity: Path
) -> None:
    wrong = declared(theirs, OTHER, identity)
    with pytest.raises(HostKeyError, match=r"shows the host key SHA256:\S+, the settings declare SHA256:") as caught:
        go(wrong)
    assert "settings.servers.primary.host_key" in caught.value.hint
    assert box.logins == []
    assert known_hosts.read_records(wrong.known_hosts) == {}


def test_a_record_that_says_something_else_than_the_settings_is_refused(theirs: first_contact.Target, box: Box) -> None:
    known_hosts.write_record(theirs.known_hosts, theirs.lock, known_hosts.Record(theirs.alias, OTHER, 1))
    with pytest.raises(HostKeyError, match="records another host key for primary than it declares"):
        go(theirs)
    assert box.logins == []


def test_a_machine_that_was_enrolled_from_another_clone_keeps_what_deploys_wrote(
    theirs: first_contact.Target, box: Box
) -> None:
    go(theirs)
    rights = box.folder / "etc/sudoers.d/bastide"
    rights.write_text("written by a deploy")
    theirs.known_hosts.unlink()
    box.commands.clear()
    go(theirs)
    assert box.commands == ["switch"]
    assert rights.read_text() == "written by a deploy"


LINES = existing_server._SCRIPT.splitlines()
# all that is reached on a machine where nothing is wrong
COMMANDS = [
    n for n, line in enumerate(LINES) if "useradd" in line or (line and not line.startswith((" ", "#", "set", "fi")))
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_machine_that_dies_half_way_is_completed(
    theirs: first_contact.Target, box: Box, monkeypatch: pytest.MonkeyPatch, line: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(existing_server, "_SCRIPT", "\n".join([*LINES[:line], "kill -9 $$", *LINES[line:]]) + "\n")
        with pytest.raises(MachineUnreachable):
            go(theirs)
    assert not known_hosts.read_records(theirs.known_hosts)
    if "bastide" in box.users():
        assert (box.folder / "etc/sudoers.d/bastide").exists(), "who can log in can become root"
    go(theirs)
    enrolled(theirs, box)


@pytest.mark.parametrize("phase", ["account", "switch"])
def test_a_lost_connection_is_said_and_the_next_run_goes_on(theirs: first_contact.Target, box: Box, phase: str) -> None:
    box.hang_up = phase
    with pytest.raises(MachineUnreachable) as caught:
        go(theirs)
    assert "run the same command again" in caught.value.hint
    box.hang_up = ""
    go(theirs)
    enrolled(theirs, box)


def test_a_machine_that_lets_in_nobody_is_said(
    theirs: first_contact.Target, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOGIN_PAUSES", ())
    box.first_user = "ubuntu"
    with pytest.raises(LoginRefused, match="lets in neither bastide nor its first user debian") as caught:
        go(theirs)
    assert "settings.servers.primary.user" in caught.value.hint
    assert box.logins == ["bastide", "debian"]


def test_what_keeps_the_account_from_being_made_is_shown(theirs: first_contact.Target, box: Box) -> None:
    (box.folder / "account").touch()  # somebody's own, who must not become root by our hand
    with pytest.raises(MachineUnreachable, match="there is an account bastide already") as caught:
        go(theirs)
    assert not (box.folder / "etc/sudoers.d/bastide").exists()
    assert "root by sudo without a password" in caught.value.hint


def test_a_host_key_in_another_file_is_refused_before_anything_changes(theirs: first_contact.Target, box: Box) -> None:
    private = box.folder / "etc/ssh/ssh_host_ed25519_key"
    private.unlink()
    shutil.copy(theirs.endpoint.identity, private)
    with pytest.raises(MachineUnreachable, match="the one that deploys keep"):
        go(theirs)
    assert (box.folder / "etc/ssh/ssh_host_rsa_key").exists()
    assert not (box.folder / "etc/sudoers.d/bastide").exists()
