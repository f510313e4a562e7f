"""Who has an account and keys: what an answer is worth, and what hides in one."""

from __future__ import annotations

import json
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.deploys.box import SETTINGS
from tests.verify import test_ssh as checked_ssh
from tests.verify import test_users as checked_users
from tests.verify import test_users_pam as checked_pam
from tests.verify.probes.remote import sshd_config, sshd_keys, sshd_running, sshd_settings
from tests.verify.probes.ssh import effective
from tests.verify.probes.world import Observation, Output, now


def _observation(text: str) -> Observation:
    return Observation("command", Output(0, text), now(), 0.1)


def test_sshds_answers_are_kept_apart() -> None:
    text = "# root 192.0.2.1\npermitrootlogin no\nhostkey a\nhostkey b\n# anna 192.0.2.1\npermitrootlogin yes\n"
    answers = effective(Output(0, text))
    assert answers[("root", "192.0.2.1")] == {"permitrootlogin": "no", "hostkey": "a b"}
    assert answers[("anna", "192.0.2.1")]["permitrootlogin"] == "yes"


def test_a_server_that_does_not_tell_its_settings_proves_nothing() -> None:
    """`sshd -T` fails on a broken file while the running server goes on with the old one."""
    silent = _observation("# root 192.0.2.1\n/etc/ssh/sshd_config: line 1: Bad configuration option\n")
    with pytest.raises(AssertionError, match="passwordauthentication is not told"):
        checked_ssh.test_effective_methods(silent, note=print)
    with pytest.raises(AssertionError, match="is not told"):
        checked_users.test_keys_come_from_nowhere_else(silent, note=print)


@pytest.mark.parametrize("name", ["test_no_account_has_a_password", "test_no_back_way_to_root"])
def test_a_machine_that_says_nothing_proves_nothing(name: str) -> None:
    with pytest.raises(AssertionError):
        getattr(checked_users, name)(_observation(""), note=print)


def test_an_account_without_a_shell_has_one() -> None:
    """passwd(5): an empty shell is /bin/sh."""
    lines = "root:x:0:0::/root:/bin/bash\nbastide:x:1:1::/:/bin/bash\nanna:x:2:2::/:/bin/bash\nbruno:x:3:3::/:/bin/bash"
    checked_users.test_only_declared_accounts_have_a_shell(_observation(lines), SETTINGS, note=print)
    with pytest.raises(AssertionError, match="not declared: mallory"):
        checked_users.test_only_declared_accounts_have_a_shell(
            _observation(f"{lines}\nmallory:x:4:4::/home/mallory:"), SETTINGS, note=print
        )


def test_what_opens_no_session_is_compared_with_what_packages_brought() -> None:
    fine = "/usr/sbin/nologin 11 11\n/bin/false 22 22\n"
    checked_users.test_what_opens_no_session_is_debians(_observation(fine), note=print)
    # another one, and one that no package brought
    with pytest.raises(AssertionError) as wrong:
        checked_users.test_what_opens_no_session_is_debians(
            _observation("/usr/sbin/nologin 33 11\n/bin/false 22\n"), note=print
        )
    assert str(wrong.value).splitlines()[0].count("is another program than Debian's") == 2
    with pytest.raises(AssertionError, match="none of the programs"):
        checked_users.test_what_opens_no_session_is_debians(_observation(""), note=print)


def test_a_first_group_counts_as_any_other() -> None:
    checked_users.test_no_back_way_to_root(_observation("root root\nanna anna\n"), note=print)
    with pytest.raises(AssertionError, match="members: disk: anna"):
        checked_users.test_no_back_way_to_root(_observation("root root\nanna disk\n"), note=print)


def test_a_key_hides_in_no_option() -> None:
    declared = SETTINGS.users.people["bruno"].keys[0]
    line = f'bruno command="echo {declared} " ssh-ed25519 AAAAother x'
    assert checked_users._keys(_observation(line)) == {"bruno": {"ssh-ed25519 AAAAother"}}


def test_a_key_hides_in_no_other_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    """Whatever a file says, in a block or beside one, each account's files are read, to their last unended line."""
    (tmp_path / "more.conf").write_text(f"Match User daemon\n  AuthorizedKeysFile {tmp_path}/in-a-block-%U\n")
    config = tmp_path / "sshd_config"
    config.write_text(f"Include {tmp_path}/*.conf\nauthorizedkeysfile={tmp_path}/%u none\n")
    (tmp_path / "root").write_text("ssh-rsa AAAAone\nno key")
    (tmp_path / "in-a-block-1").write_text("cert-authority ssh-rsa AAAAtwo\n\tssh-rsa\tAAAAthree")
    accounts = [
        pwd.struct_passwd((name, "x", number, number, "", "/", "")) for number, name in enumerate(("root", "daemon"))
    ]
    monkeypatch.setattr(sshd_keys, "files", sshd_config.files, raising=False)
    monkeypatch.setattr(sshd_keys, "_lines", sshd_config._lines, raising=False)
    monkeypatch.setattr("pwd.getpwall", lambda: accounts)
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # as root each would be read as its account
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout="authorizedkeysfile none\n"))
    sshd_keys.keys({"config": str(config)})
    assert capsys.readouterr().out.splitlines() == [
        "root ssh-rsa AAAAone",
        "daemon cert-authority ssh-rsa AAAAtwo",
        "daemon \tssh-rsa\tAAAAthree",
    ]


def test_who_a_match_block_speaks_of_is_asked_about(tmp_path: Path) -> None:
    config = tmp_path / "sshd_config"
    config.write_text(
        "Match User backup,!anna Address 10.9.0.0/16,2001:db8::/32 LocalPort 2222\n  X11Forwarding yes\n"
        'Match Host "*.example.eu" sessiontype shell\nMatch all\n'
    )
    blocks = sshd_config.matches(str(config))
    assert blocks[0] == {"user": "backup,!anna", "address": "10.9.0.0/16,2001:db8::/32", "localport": "2222"}
    assert blocks[2] == {"all": ""}
    assert sshd_config.unknown(str(config)) == ["sessiontype"]
    sshd_settings.__dict__["ASKED"] = sshd_config.ASKED
    assert sshd_settings._ways(blocks[0], "203.0.113.9") == [
        {"addr": "10.9.0.1", "lport": "2222"},
        {"addr": "2001:db8::1", "lport": "2222"},
    ]
    assert sshd_settings._ways(blocks[1], "203.0.113.9") == [{"addr": "203.0.113.9", "host": "1.example.eu"}]
    assert sshd_settings._patterns("backup,!anna") == ["backup", "anna"]


def _running(**changed: Any) -> Observation:
    unit = {
        "pid": 7, "program": "/usr/sbin/sshd", "read": 100, "written": 99.5, "other": [], "loaded": [],
        "line": "sshd: /usr/sbin/sshd -D [listener] 0 of 10-60 startups",
    }  # fmt: skip
    servers = [{"pid": 7, "address": "0.0.0.0", "port": 22, "program": "/usr/sbin/sshd"}]
    more = changed.pop("servers", [])
    return _observation(json.dumps({"unit": unit | changed, "servers": servers + more, "unknown": []}))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"line": "sshd: /usr/sbin/sshd -D -o PermitRootLogin=yes [listener] 0 of 10-60 startups"}, "other words"),
        ({"program": "/opt/sshd"}, "ssh.service runs /opt/sshd"),
        ({"written": 100.01}, "changed after sshd read them"),
        ({"loaded": ["LD_PRELOAD=/opt/x.so"]}, "no package brought: LD_PRELOAD=/opt/x.so"),
        ({"other": ["/etc/ssh/sshd_config"]}, "another file in the place of /etc/ssh/sshd_config"),
        (
            {"servers": [{"pid": 8, "address": "*", "port": 2222, "program": "/usr/bin/x"}]},
            r"at \* port 2222 \(/usr/bin/x",
        ),
        ({"servers": [{"pid": 7, "address": "::", "port": 2022, "program": "/usr/sbin/sshd"}]}, "also listens at ::"),
    ],
)
def test_what_runs_beside_its_files_is_seen(changed: dict[str, Any], says: str) -> None:
    checked_ssh.test_what_listens_is_the_server_of_the_settings(_running(), SETTINGS, note=print)
    with pytest.raises(AssertionError, match=says):
        checked_ssh.test_what_listens_is_the_server_of_the_settings(_running(**changed), SETTINGS, note=print)


def test_everything_that_is_wrong_is_named() -> None:
    lines = "root:x:0:0::/root:/bin/bash\nbastide:x:1:1::/:/bin/bash\ntoor:x:0:0::/root:/bin/sh\n"
    with pytest.raises(
        AssertionError, match="not declared: toor; missing: anna, bruno; accounts with root's number: toor"
    ):
        checked_users.test_only_declared_accounts_have_a_shell(_observation(lines), SETTINGS, note=print)


@pytest.mark.skipif(not Path("/var/lib/dpkg/info").is_dir(), reason="no Debian, so no package says what it brought")
def test_code_that_no_package_brought_is_seen(tmp_path: Path) -> None:
    """In a process that runs: its program, its libraries, and what it was told to load."""
    own = tmp_path / "cat"
    shutil.copy("/usr/bin/cat", own)
    for program, more in (("/usr/bin/cat", {"LD_LIBRARY_PATH": "/opt/x"}), (str(own), {})):
        with subprocess.Popen([program], env=more, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(b"it runs\n")
            process.stdin.flush()
            process.stdout.readline()
            found = sshd_running._loaded(process.pid)
        assert found == ([f"{key}={value}" for key, value in more.items()] or [program])


def test_who_gets_in_by_a_wrong_password_is_named_with_the_service() -> None:
    refused = {"root": 7, "nobody": 7}
    judge = checked_pam.test_no_service_takes_a_wrong_password
    answers = {"su": refused, "sudo": refused, "login": refused}
    judge(_observation(json.dumps(answers)), print)
    with pytest.raises(AssertionError, match=re.escape("PAM lets in root by a wrong password (su)")):
        judge(_observation(json.dumps({**answers, "su": {"root": 0, "nobody": 7}})), print)
    with pytest.raises(AssertionError, match="do not ask PAM"):
        judge(_observation("{}"), print)
    with pytest.raises(AssertionError, match="PAM could not be asked"):
        judge(_observation(""), print)
