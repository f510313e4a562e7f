"""What holds for each account and session: where it is written, and what auditors want of it.

Sources: *CIS* is the CIS Debian Linux 13 Benchmark, *ANSSI* are the recommendations R31 to R41 of ANSSI-BP-028.
"""

from __future__ import annotations

from bastide.settings import Accounts

PROFILES = "/usr/share/pam-configs"
"""What pam-auth-update(8) puts together to /etc/pam.d/common-*."""
PROFILE_NAMES = tuple(f"bastide-{word}" for word in ("unix", "faillock", "faillock-notify", "pwhistory", "umask"))
FAILLOCK_FILE = "/etc/security/faillock.conf"
PWHISTORY_FILE = "/etc/security/pwhistory.conf"
PWQUALITY_FILE = "/etc/security/pwquality.conf.d/bastide.conf"
LOGIN_DEFS = "/etc/login.defs"
USERADD_FILE = "/etc/default/useradd"
SU_FILE = "/etc/pam.d/su"
SU_GROUP = "sugroup"
"""Whose members may use su(1): nobody. CIS calls it so."""
SUDO_FILE = "/etc/sudoers.d/bastide-accounts"
SUDO_LOG = "/var/log/sudo.log"
SHELL_FILE = "/etc/profile.d/bastide.sh"
BASHRC = "/etc/bash.bashrc"
BANNERS = ("/etc/issue", "/etc/issue.net")
"""At a console (agetty(8)) and by ssh (sshd_config(5), Banner)."""
SSH_BANNER = BANNERS[1]
JOBS = {"/etc/cron.allow": "crontab", "/etc/at.allow": "daemon"}
"""Who may plan jobs, each file with the group by which crontab(1) and at(1) read it."""
REMEMBERED = 24  # CIS
HASHING = "YESCRYPT"
LOGIN_VALUES = {
    "HOME_MODE": "0700",
    "PASS_MAX_DAYS": "365",
    "PASS_MIN_DAYS": "1",
    "PASS_WARN_AGE": "7",
    "ENCRYPT_METHOD": HASHING,
    "YESCRYPT_COST_FACTOR": "5",
    # of whoever asks for another method than that: ANSSI
    "SHA_CRYPT_MIN_ROUNDS": "65536",
    "SHA_CRYPT_MAX_ROUNDS": "65536",
}
INACTIVE_DAYS = 30
MODES = {
    "/etc/crontab": 0o600,
    **{f"/etc/cron.{word}": 0o700 for word in ("d", "hourly", "daily", "weekly", "monthly", "yearly")},
    # what useradd(8) gives to each new home
    **{f"/etc/skel/{name}": 0o640 for name in (".bashrc", ".profile", ".bash_logout")},
}
"""Root's own, and its modes."""
HOME_BITS, FILE_BITS = 0o027, 0o037
"""What nobody may with a home, and with a file in it that a shell reads at its start."""


def wanted_login_values(accounts: Accounts) -> dict[str, str]:
    """login.defs(5), by key."""
    return {"UMASK": accounts.umask, **LOGIN_VALUES}
