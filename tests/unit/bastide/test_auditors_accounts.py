"""Each rule on accounts that failed on a machine of 2026-11-28 (CIS Level 1, ANSSI intermediary) is done or excused."""

from __future__ import annotations

import pytest

from bastide.auditors import DEVIATIONS
from bastide.layout.accounts import (
    BANNERS,
    BASHRC,
    FAILLOCK_FILE,
    LOGIN_DEFS,
    MODES,
    PROFILES,
    SHELL_FILE,
    SSH_BANNER,
    SU_FILE,
    SUDO_FILE,
    USERADD_FILE,
)
from deploys import accounts, ssh
from tests.unit.deploys.box import here

_LOCK, _NOTIFY, _OLD = (f"{PROFILES}/bastide-{name}" for name in ("faillock", "faillock-notify", "pwhistory"))
# where it is said, and a part of what
DONE = {
    "account_disable_post_pw_expiration": (USERADD_FILE, "INACTIVE=30"),
    "accounts_maximum_age_login_defs": (LOGIN_DEFS, "PASS_MAX_DAYS\t365"),
    "accounts_password_pam_pwhistory_enabled": (_OLD, "requisite\tpam_pwhistory.so"),
    "accounts_password_pam_pwhistory_enforce_root": (_OLD, "enforce_for_root"),
    "accounts_password_pam_pwhistory_remember": (_OLD, "remember=24"),
    "accounts_password_pam_pwhistory_use_authtok": (_OLD, "use_authtok"),
    "accounts_passwords_pam_faillock_deny": (FAILLOCK_FILE, "deny = 3"),
    "accounts_passwords_pam_faillock_deny_root": (FAILLOCK_FILE, "even_deny_root"),
    "accounts_passwords_pam_faillock_enabled": (_LOCK, "[default=die]\tpam_faillock.so authfail"),
    "accounts_passwords_pam_faillock_unlock_time": (FAILLOCK_FILE, "unlock_time = 900"),
    "accounts_tmout": (SHELL_FILE, "declare -xr TMOUT=600"),
    "accounts_umask_etc_bashrc": (BASHRC, "umask 027"),
    "accounts_umask_etc_login_defs": (LOGIN_DEFS, "UMASK\t027"),
    "accounts_umask_etc_profile": (SHELL_FILE, "umask 027"),
    "file_at_allow_exists": ("/etc/at.allow", "root"),
    "file_cron_allow_exists": ("/etc/cron.allow", "root"),
    "no_empty_passwords_unix": (f"{PROFILES}/bastide-unix", "pam_unix.so try_first_pass\n"),
    "sshd_enable_warning_banner_net": ("/etc/ssh/sshd_config.d/00-bastide.conf", f"Banner {SSH_BANNER}"),
    "sudo_add_ignore_dot": (SUDO_FILE, "Defaults ignore_dot\n"),
    "sudo_add_requiretty": (SUDO_FILE, "Defaults requiretty\n"),
    "sudo_add_umask": (SUDO_FILE, "Defaults umask=0027\n"),
    "sudo_custom_logfile": (SUDO_FILE, 'Defaults logfile="/var/log/sudo.log"\n'),
    "sudo_require_reauthentication": (SUDO_FILE, "Defaults timestamp_timeout=5\n"),
    "use_pam_wheel_group_for_su": (SU_FILE, "pam_wheel.so use_uid group=sugroup"),
}
# what an operation does
OPERATIONS = {
    *("ensure_pam_wheel_group_empty", "file_permission_user_init_files", "no_shelllogin_for_systemaccounts"),
    "package_pam_pwquality_installed",
    *(f"file_permissions_cron_{word}" for word in ("d", "daily", "hourly", "monthly", "weekly", "yearly")),
    "file_permissions_crontab",
}
EXCUSED = {
    *("accounts_password_pam_unix_rounds_password_auth", "accounts_password_set_max_life_root"),
    *("accounts_passwords_pam_faillock_interval", "no_direct_root_logins", "sudo_add_noexec"),
    "sudoers_explicit_command_args",
}


@pytest.mark.parametrize("rule", DONE)
def test_it_is_done(rule: str) -> None:
    wanted = accounts.wanted_of(here())
    files = (
        *accounts.guarded_files(wanted, {}),
        *accounts.shell_files(wanted, {}),
        *accounts.banner_files(wanted),
        *accounts.job_files(wanted, cron=True),
        ssh.config_file(ssh.wanted_of(here())),
    )
    path, said = DONE[rule]
    assert said in {file.path: str(file.content) for file in files}[path]


def test_what_is_excused_is_not_done() -> None:
    excused = {rule for one in DEVIATIONS for rule in one.rules}
    assert excused >= EXCUSED
    assert excused & ({*DONE} | OPERATIONS) == set()
    assert "libpam-pwquality" in accounts.PACKAGES
    assert {path for path in MODES if "cron" in path} == {
        "/etc/crontab",
        *(f"/etc/cron.{word}" for word in ("d", "hourly", "daily", "weekly", "monthly", "yearly")),
    }
    assert SSH_BANNER in BANNERS
