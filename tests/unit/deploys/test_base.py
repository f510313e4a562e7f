"""What every machine has, in files that others write, too; and what none has."""

from __future__ import annotations

import pytest

from bastide.layout.base import CLOSED, JOURNAL, REWRITTEN, UNNEEDED, Closed
from bastide.layout.ssh import MAIN, SAID_TWICE
from deploys import base, ssh
from deploys.facts.fact import Facts
from deploys.operations import modes, packages
from deploys.operations.parts import with_part, without_part
from deploys.remote.facts import common
from deploys.remote.facts import files as on_machine
from deploys.remote.facts import packages as packages_on_machine
from tests.unit.deploys.box import SETTINGS, here
from tests.unit.deploys.operating import commands

DEBIANS = (
    "# Debian\n\nInclude /etc/ssh/sshd_config.d/*.conf\n\nUsePAM yes\nMatch User sftp\n    ForceCommand internal-sftp\n"
)


def test_our_part_stands_behind_the_line_and_nothing_else_changes():
    first = with_part(DEBIANS, "A 1\n", r"Include\s")
    before, _, after = first.partition("A 1\n")
    assert before.startswith("# Debian\n\nInclude /etc/ssh/sshd_config.d/*.conf\n#")
    assert after.endswith("\n\nUsePAM yes\nMatch User sftp\n    ForceCommand internal-sftp\n")
    assert without_part(first) == DEBIANS
    again = with_part(first, "B 2\n", r"Include\s")
    assert "A 1" not in again
    assert with_part(again, "A 1\n", r"Include\s") == first


def test_without_the_line_it_comes_first_so_that_no_block_takes_it():
    text = with_part("Match User x\n    PermitTTY no\n", "A 1\n", r"Include\s")
    assert text.index("A 1") < text.index("Match")


def test_sshd_is_told_twice_what_has_one_value():
    wanted = ssh.config_file(ssh.wanted_of(here()))
    (main,) = ssh.main_files(wanted, Facts({"contents": {MAIN: DEBIANS}}))
    said = str(main.content)
    assert main.mode == 0o600
    assert without_part(said) == DEBIANS
    ours = [
        line.split()[0] for line in said.splitlines() if line in str(wanted.content).splitlines() and line[:1].isupper()
    ]
    assert set(ours) <= {*SAID_TWICE, "UsePAM"}
    assert {"PermitRootLogin", "Ciphers", "MaxAuthTries", "HostbasedAuthentication"} <= set(ours)
    # what adds up would count twice
    assert not {"Port", "AllowUsers", "HostKey"} & set(SAID_TWICE)


def test_there_is_nothing_to_say_in_a_file_that_is_not_there_yet():
    assert ssh.main_files(ssh.config_file(ssh.wanted_of(here())), Facts({"contents": {}})) == ()


@pytest.mark.parametrize(("forward", "said"), [(False, "ForwardToSyslog=no"), (True, "ForwardToSyslog=yes")])
def test_the_journal_is_forwarded_to_who_keeps_it_already(forward, said):
    main = base.journal_main(
        Facts({"contents": {JOURNAL: "[Journal]\n#Storage=auto\nRateLimitBurst=9\n"}}), forward=forward
    )
    lines = str(main.content).splitlines()
    assert lines[0] == "[Journal]"
    assert {"Storage=persistent", "Compress=yes", said, "RateLimitBurst=9"} <= set(lines)
    assert said in str(base.journal_file(SETTINGS.base, forward=forward).content).splitlines()


def test_a_main_file_that_is_not_there_is_made():
    assert str(base.journal_main(Facts({"contents": {}}), forward=False).content).startswith("[Journal]\n#")


def test_what_is_open_is_closed_and_nothing_is_made(host):
    wanted = (Closed("/var/log/dpkg.log", 0o640, "adm"), Closed("/etc/shadow-", 0))
    host.answer = {"modes": {"/var/log/dpkg.log": "0644 root root", "/etc/shadow-": ""}}
    assert commands(modes.close, wanted=wanted) == ["chown root:adm /var/log/dpkg.log && chmod 0640 /var/log/dpkg.log"]
    host.answer = {"modes": {"/var/log/dpkg.log": "0640 root adm", "/etc/shadow-": "0000 root root"}}
    assert commands(modes.close, wanted=wanted) == []


def test_modes_are_read_and_no_content(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "ROOT", tmp_path)
    (tmp_path / "log").mkdir(mode=0o750)
    (tmp_path / "log").chmod(0o750)
    found = on_machine.modes(["/log", "/nothing"])
    assert found["/log"].startswith("0750 ")
    assert found["/nothing"] == ""


def test_boots_and_rotated_logs_close_the_same():
    tmpfiles, logrotate = base.closed_files()
    lines = [line.split() for line in str(tmpfiles.content).splitlines() if not line.startswith("#")]
    assert [(kind, path, int(mode, 8), group) for kind, path, mode, _, group, _ in lines] == [
        ("z", one.path, one.mode, one.group) for one in (*REWRITTEN, *CLOSED)
    ]
    assert tmpfiles.path in str(logrotate.content)


def test_packages_that_nobody_needs_go_and_a_declared_one_stays(host):
    declared = SETTINGS.base.model_copy(update={"packages": ("rpcbind",)})
    names = base.unneeded(declared)
    assert set(UNNEEDED) - set(names) == {"rpcbind"}
    host.answer = {"by_name": {name: name in ("telnet", "cups") for name in names}}
    (command,) = commands(packages.purged, names=names)
    assert "dpkg --purge -- cups telnet" in command
    host.answer = {"by_name": dict.fromkeys(names, False)}
    assert commands(packages.purged, names=names) == []


def test_what_a_package_stands_for_is_not_that_package(monkeypatch):
    """openssh-client provides rsh-client."""
    status = "Package: openssh-client\nStatus: install ok installed\nProvides: rsh-client, ssh-client\n"
    monkeypatch.setattr(packages_on_machine, "read", lambda path: status)
    assert packages_on_machine.packages(["rsh-client"]) == {"rsh-client": True}
    assert packages_on_machine.by_name(["rsh-client", "openssh-client"]) == {
        "rsh-client": False,
        "openssh-client": True,
    }
