"""Who has an account and keys: what an answer is worth, and what hides in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.console import run
from tests.unit.deploys.box import SETTINGS
from tests.verify import test_ssh as checked_ssh
from tests.verify import test_users as checked_users
from tests.verify.probes.ssh import effective
from tests.verify.probes.users import _KEYS
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


def test_a_first_group_counts_as_any_other() -> None:
    checked_users.test_no_back_way_to_root(_observation("root root\nanna anna\n"), note=print)
    with pytest.raises(AssertionError, match="members: disk: anna"):
        checked_users.test_no_back_way_to_root(_observation("root root\nanna disk\n"), note=print)


def test_a_key_hides_in_no_option() -> None:
    declared = SETTINGS.users.people["bruno"].keys[0]
    line = f'bruno command="echo {declared} " ssh-ed25519 AAAAother x'
    assert checked_users._keys(_observation(line)) == {"bruno": {"ssh-ed25519 AAAAother"}}


def test_a_key_hides_behind_no_unended_line(tmp_path: Path) -> None:
    """Each account's key file is read as one of lines, whatever its last byte is."""
    (tmp_path / "root").write_text("one")
    (tmp_path / "daemon").write_text("two\n")
    fake = f"printf 'authorizedkeysfile {tmp_path}/%%u\\n'"
    script = _KEYS.replace("@EFFECTIVE@", fake).replace("{ sshd -T;", "{")
    assert set(run(["sh", "-c", script]).stdout.splitlines()) == {"root one", "daemon two"}
