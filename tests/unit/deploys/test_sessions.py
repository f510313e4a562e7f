"""What holds for each account: lines in files of Debian's, stacks that somebody changed, homes, and the way back."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from bastide.layout.accounts import FILE_BITS, HOME_BITS, LOGIN_DEFS, MODES, PROFILE_NAMES
from bastide.layout.base import Closed
from bastide.settings import Settings
from deploys import accounts
from deploys.operations import groups, modes
from deploys.operations import shells as services
from deploys.operations.files import File, plan
from deploys.remote import change
from deploys.remote import homes as closing
from deploys.remote.facts import common, homes, shells
from tests.unit.deploys.box import GUARDED, SETTINGS, here

SU = "# so root may\nauth       sufficient pam_rootok.so\n#auth required pam_wheel.so\n@include common-auth\n"
WHEEL = "auth       required   pam_wheel.so use_uid group=sugroup"
STACKS = {
    "auth": """\
auth\trequired\tpam_faillock.so preauth
auth\t[success=3 default=ignore]\tpam_unix.so
auth\t[default=die]\tpam_faillock.so authfail
""",
    "account": """\
account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so no_pass_expiry
account\trequired\tpam_faillock.so
""",
    "password": """\
password\trequisite\tpam_pwquality.so retry=3
password\trequisite\tpam_pwhistory.so remember=24 use_authtok
""",
    "session": "session optional pam_umask.so nousergroups\n",
    "session-noninteractive": "session optional pam_umask.so nousergroups\n",
}


def stacks(**other: str) -> dict[str, str]:
    return {f"/etc/pam.d/common-{name}": text for name, text in {**STACKS, **other}.items()}


def test_a_value_is_changed_where_it_stands_and_said_once() -> None:
    text = "# UMASK is a mask\nUMASK 022\nMAIL_DIR /var/mail\nUMASK\t002\n"
    assert accounts.with_values(text, {"UMASK": "027", "HOME_MODE": "0700"}, "\t") == (
        "# UMASK is a mask\nUMASK\t027\nMAIL_DIR /var/mail\nHOME_MODE\t0700\n"
    )
    assert accounts.with_values("# INACTIVE=-1\nSHELL=/bin/sh\n", {"INACTIVE": "30"}, "=") == (
        "# INACTIVE=-1\nSHELL=/bin/sh\nINACTIVE=30\n"
    )


def test_root_is_let_through_before_the_group_is_asked() -> None:
    wanted = SU.replace("pam_rootok.so\n", f"pam_rootok.so\n{WHEEL}\n")
    assert accounts.with_wheel(SU) == wanted
    assert accounts.with_wheel(wanted) == wanted
    trusting = SU.replace("@include", "auth sufficient pam_wheel.so trust\n@include")
    assert accounts.with_wheel(trusting) == wanted
    # somebody took that line away: root's su would need the group
    assert accounts.with_wheel("@include common-auth\n").splitlines()[:2] == [
        "auth       sufficient pam_rootok.so",
        WHEEL,
    ]


def test_a_block_is_put_at_the_end_once() -> None:
    once = accounts.with_block("PS1=x", ("umask 027",))
    assert once == "PS1=x\n# Bastide (deploys/accounts.py): begin\numask 027\n# Bastide (deploys/accounts.py): end\n"
    assert accounts.with_block(once, ("umask 077",)) == once.replace("027", "077")


def test_a_second_run_writes_the_same() -> None:
    wanted = accounts.wanted_of(here())
    first = (*accounts.guarded_files(wanted, {}), *accounts.shell_files(wanted, {}))
    again = {file.path: str(file.content) for file in first}
    assert (*accounts.guarded_files(wanted, again), *accounts.shell_files(wanted, again)) == first


def test_what_somebody_changed_in_the_stacks_is_drift() -> None:
    assert accounts.drift(stacks()) == ""
    assert accounts.drift({}).startswith("/etc/pam.d/common-auth has no line")
    assert accounts.drift(stacks(account="account required pam_unix.so\n")) == (
        '/etc/pam.d/common-account has no line with "pam_unix.so no_pass_expiry"'
    )
    assert "empty passwords" in accounts.drift(stacks(auth=STACKS["auth"].replace("pam_unix.so", "pam_unix.so nullok")))


def test_programs_need_no_terminal_and_get_no_mask_of_somebody_elses() -> None:
    settings = Settings.model_validate({**SETTINGS.model_dump(), "users": GUARDED.model_dump()})
    wanted = accounts.wanted_of(here(settings=settings))
    sudoers = next(file for file in accounts.guarded_files(wanted, {}) if file.path.startswith("/etc/sudoers.d"))
    assert "Defaults:bastide,verify !requiretty, umask=0022, umask_override\n" in str(sudoers.content)
    assert (sudoers.mode, sudoers.check) == (0o440, "visudo -cqf")


def test_pam_is_not_asked_on_the_way_back(tmp_path: Path) -> None:
    """It would take up again what let nobody in, or make stacks without any password check at all."""
    asked, mark = tmp_path / "asked", tmp_path / "settled"
    (tmp_path / "pam-auth-update").write_text(f"#!/bin/sh\necho $@ >>{asked}\nexit 1\n")
    (tmp_path / "pam-auth-update").chmod(0o755)
    line = accounts.settle().replace("/var/lib/bastide/guard/accounts/settled", str(mark))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    codes = [subprocess.run(["sh", "-c", line], env=env, check=False).returncode for _ in range(2)]
    assert codes == [1, 0]
    assert asked.read_text() == f"--package --enable {' '.join(PROFILE_NAMES)} --disable unix\n"


def test_a_list_that_cron_reads_by_its_group_is_written_where_that_is() -> None:
    settings = Settings.model_validate({**SETTINGS.model_dump(), "accounts": {"jobs": ("anna",)}})
    wanted = accounts.wanted_of(here(settings=settings))
    assert accounts.job_files(wanted, cron=True) == (
        File("/etc/cron.allow", "root\nanna\n", mode=0o640, group="crontab"),
        File("/etc/at.allow", "root\nanna\n", mode=0o640, group="daemon"),
    )
    assert [file.path for file in accounts.job_files(wanted, cron=False)] == ["/etc/at.allow"]


def test_what_settling_changes_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "ROOT", tmp_path)
    monkeypatch.setattr(change, "_arm", lambda name, seconds: "")
    monkeypatch.setattr(change, "_disarm", lambda name, timer=True: None)
    owner = {"owner": pwd_name(), "group": group_name()}
    (tmp_path / "run").mkdir()
    (tmp_path / "stack").write_text("as it was\n")
    (tmp_path / "var/lib/bastide").mkdir(parents=True)
    settle = f"[ ! -e {tmp_path}/profile ] || echo other >{tmp_path}/stack; [ -e {tmp_path}/new ] || : >{tmp_path}/new"
    told = plan("accounts", (File("/profile", "x\n", **owner),), settle, ("/stack", "/new"))
    change.begin(json.loads(json.dumps(told)), 5)
    assert (tmp_path / "stack").read_text() == "other\n"
    change._take_back("accounts", "no login", settle=False)
    assert (tmp_path / "stack").read_text() == "as it was\n"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "profile").exists()


def test_homes_are_closed_and_no_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    home = tmp_path / "home/anna"
    home.mkdir(parents=True)
    home.chmod(0o755)
    (tmp_path / "home/site").mkdir(mode=0o755)
    for name, mode in {".profile": 0o644, ".netrc": 0o600, "letter": 0o644}.items():
        (home / name).write_text("x")
        (home / name).chmod(mode)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    (home / ".bashrc").symlink_to(tmp_path / "secret")
    people = [
        SimpleNamespace(pw_name="anna", pw_uid=os.getuid() or 1000, pw_dir="/home/anna", pw_shell="/bin/bash"),
        SimpleNamespace(pw_name="somebody", pw_uid=os.getuid() or 1000, pw_dir="/home/site", pw_shell="/bin/bash"),
    ]
    monkeypatch.setattr(homes.pwd, "getpwall", lambda: people)
    if os.getuid() == 0:
        os.chown(home, 1000, 1000)
    assert homes.homes(["anna"]) == ["/home/anna", "/home/anna/.profile"]
    closing.close([*homes.homes(["anna"]), "/home/anna/.bashrc", "/home/anna/gone"])
    assert homes.homes(["anna"]) == []
    assert [oct(path.stat().st_mode & 0o777) for path in (home, home / ".profile", tmp_path / "secret")] == [
        "0o750",
        "0o640",
        "0o644",
    ]


@pytest.mark.parametrize(
    ("mode", "group", "made"),
    [(0o600, "root", []), (0o644, "root", ["chown root:root /etc/crontab && chmod 0600 /etc/crontab"])],
)
def test_modes(host, mode, group, made):
    host.answer = {"modes": {**dict.fromkeys(MODES, ""), "/etc/crontab": f"{mode:04o} root {group}"}}
    wanted = tuple(Closed(path, mode) for path, mode in MODES.items())
    assert list(modes.close._inner(wanted)) == made


@pytest.mark.parametrize(("members", "made"), [([], 0), (None, 1), (["anna"], 1)])
def test_the_group_for_su_is_made_and_emptied(host, members, made):
    host.answer = {"groups": {"sugroup": members}}
    assert len(list(groups.empty_group._inner("sugroup"))) == made


def test_services_get_a_shell_that_says_no(host, monkeypatch):
    people = [
        SimpleNamespace(pw_name=name, pw_uid=number, pw_shell=shell)
        for name, number, shell in (
            ("root", 0, "/bin/false"),
            ("dhcpcd", 100, "/bin/false"),
            ("git", 101, "/bin/bash"),
            ("sync", 4, "/bin/sync"),
            ("anna", 1001, "/usr/bin/false"),
        )
    ]
    monkeypatch.setattr(shells.pwd, "getpwall", lambda: people)
    host.answer = {"false_shells": shells.false_shells(None)}
    assert list(services.nologin_shells._inner()) == ["usermod --shell /usr/sbin/nologin dhcpcd"]
    host.answer = {"false_shells": []}
    assert list(services.nologin_shells._inner()) == []


def test_what_machines_go_by_is_what_stands_here() -> None:
    assert (homes.HOME_BITS, homes.FILE_BITS) == (HOME_BITS, FILE_BITS)
    assert f"/{change.STATE}/guard/accounts/settled" in accounts.settle()


def test_login_defs_is_debians_but_for_what_is_wanted() -> None:
    wanted = accounts.wanted_of(here())
    text = "UMASK 022\nUID_MIN 1000\n"
    file = next(f for f in accounts.guarded_files(wanted, {LOGIN_DEFS: text}) if f.path == LOGIN_DEFS)
    assert str(file.content).startswith("UMASK\t027\nUID_MIN 1000\nHOME_MODE\t0700\n")


def pwd_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def group_name() -> str:
    return grp.getgrgid(os.getgid()).gr_name
