"""What accounts may do: the wrong ways."""

from __future__ import annotations

from bastide.layout.accounts import BASHRC, FAILLOCK_FILE, LOGIN_DEFS, SHELL_FILE, SSH_BANNER, SU_FILE, SU_GROUP
from tests.rehearsal.sabotages.model import RELOAD, Sabotage, sshd_says

_PAM = ("pam",)
_UPDATE = "DEBIAN_FRONTEND=noninteractive pam-auth-update --package"
_SUDOERS = "/etc/sudoers.d/zz-sabotage-accounts"


def _edited(
    control: str, what: str, says: str, path: str, expression: str, *touches: str, then: str = "true"
) -> Sabotage:
    """A file that somebody edited (sed(1))."""
    saved = f"/run/{path.rpartition('/')[2]}.accounts"
    return Sabotage(
        control,
        what,
        says,
        f"cp -p {path} {saved} && sed -i '{expression}' {path}",
        f"cp -p {saved} {path} && rm {saved}",
        touches=(path, *touches),
        then=then,
    )


def _sudo_says(what: str, says: str, line: str) -> Sabotage:
    """A file that sudo reads last."""
    return Sabotage(
        "accounts-05",
        what,
        says,
        f"echo 'Defaults {line}' > {_SUDOERS} && chmod 440 {_SUDOERS}",
        f"rm {_SUDOERS}",
    )


SABOTAGES = (
    _edited("accounts-01", "Debian's own mask", "a session has the mask", LOGIN_DEFS, "s/^UMASK.*/UMASK 022/"),
    Sabotage(
        "accounts-01",
        "a group of one's own may write, as Debian has it by default",
        "a session has the mask and makes files of the mode: 0007 660",
        f"{_UPDATE} --disable bastide-umask",
        f"{_UPDATE} --enable bastide-umask",
        touches=_PAM,
    ),
    Sabotage(
        "accounts-01",
        "a home that everybody may look into",
        " has the mode 0755",
        "chmod 0755 /home/{person}",
        "chmod 0700 /home/{person}",
    ),
    Sabotage(
        "accounts-01",
        "what root's shell reads, for all to read",
        "/root/.profile has the mode 0644",
        "chmod 0644 /root/.profile",
        "chmod 0640 /root/.profile",
    ),
    Sabotage(
        "accounts-02",
        "nobody counts, and the file of values lies there as it was",
        "the right one is taken all the same",
        f"{_UPDATE} --disable bastide-faillock bastide-faillock-notify",
        f"{_UPDATE} --enable bastide-faillock bastide-faillock-notify",
        touches=_PAM,
    ),
    _edited(
        "accounts-02",
        "more tries than declared",
        "the right one is taken all the same",
        FAILLOCK_FILE,
        "s/^deny = .*/deny = 50/",
    ),
    Sabotage(
        "accounts-03",
        "a later file lets short words in",
        "PAM takes a weak password",
        "printf 'minlen = 6\\nminclass = 0\\nocredit = 0\\nucredit = 0\\ndcredit = 0\\n'"
        " > /etc/security/pwquality.conf.d/zz-sabotage.conf",
        "rm /etc/security/pwquality.conf.d/zz-sabotage.conf",
    ),
    Sabotage(
        "accounts-03",
        "a password may come back",
        "PAM takes a password that was there before",
        f"{_UPDATE} --disable bastide-pwhistory",
        f"{_UPDATE} --enable bastide-pwhistory",
        touches=_PAM,
    ),
    _edited(
        "accounts-03",
        "the age of a password that nobody has locks keys out",
        "sshd is refused for the age of a password",
        "/etc/pam.d/common-account",
        "s/ no_pass_expiry//",
        *_PAM,
    ),
    _edited(
        "accounts-04",
        "Debian's own su",
        "whoever knows root",
        SU_FILE,
        "/^auth.*pam_wheel/d",
    ),
    Sabotage(
        "accounts-04",
        "somebody may use su",
        " may use su",
        f"gpasswd -a {{person}} {SU_GROUP}",
        f"gpasswd -d {{person}} {SU_GROUP}",
    ),
    _sudo_says("the caller's own terminal", "has its caller", "!use_pty"),
    _sudo_says("no log", "sudo wrote no line of what it ran", "!logfile"),
    _sudo_says("no terminal is needed", "sudo works without a terminal", "!requiretty"),
    _edited(
        "accounts-06",
        "whoever sits there sets another time",
        "can change that",
        SHELL_FILE,
        "s/declare -xr/export/",
    ),
    _edited(
        "accounts-06",
        "only a login shell ends",
        "another shell does not end",
        BASHRC,
        "/^# Bastide/,/^# Bastide/d",
    ),
    Sabotage(
        "accounts-07",
        "no list, so that anybody may",
        "crontab lets an account plan jobs that nobody named",
        "mv /etc/cron.allow /run/cron.allow.saved",
        "mv /run/cron.allow.saved /etc/cron.allow",
    ),
    Sabotage(
        "accounts-07",
        "the folder of root's jobs, for all to read",
        "/etc/cron.d is 0755",
        "chmod 0755 /etc/cron.d",
        "chmod 0700 /etc/cron.d",
    ),
    sshd_says("accounts-08", "no text before a login", "does not show the declared text", "Banner none"),
    _edited(
        "accounts-08",
        "the system's name and version",
        "tells which system this is",
        SSH_BANNER,
        "1s/.*/Debian GNU\\/Linux 13/",
        then=RELOAD,
    ),
)
