"""What holds for each account and session: masks, passwords, su and sudo, idle shells, jobs, what is read before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.accounts import (
    BANNERS,
    BASHRC,
    FAILLOCK_FILE,
    INACTIVE_DAYS,
    JOBS,
    LOGIN_DEFS,
    MODES,
    PROFILE_NAMES,
    PROFILES,
    PWHISTORY_FILE,
    PWQUALITY_FILE,
    REMEMBERED,
    SHELL_FILE,
    SU_FILE,
    SU_GROUP,
    SUDO_FILE,
    SUDO_LOG,
    USERADD_FILE,
    wanted_login_values,
)
from bastide.layout.base import Closed
from bastide.settings import Accounts, Users
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, merged
from deploys.facts.files import CONTENTS
from deploys.facts.groups import GROUPS
from deploys.facts.homes import HOMES
from deploys.facts.packages import PACKAGES as INSTALLED
from deploys.facts.shells import FALSE_SHELLS
from deploys.here import Here
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, files, files_request
from deploys.operations.groups import empty_group
from deploys.operations.homes import closed_homes
from deploys.operations.modes import close, close_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.shells import nologin_shells
from deploys.render import render

# without a dictionary pam_pwquality refuses every password
PACKAGES = ("cracklib-runtime", "libpam-pwquality", "sudo")
_CRON = "cron"
_STACKS = ("auth", "account", "password", "session", "session-noninteractive")
_COMMON = {name: f"/etc/pam.d/common-{name}" for name in _STACKS}
KEPT = (*_COMMON.values(), *(f"/var/lib/pam/{name}" for name in (*_STACKS, "seen")))
"""What pam-auth-update(8) writes."""
# what must stand in a stack then, and what must not, with single spaces
_SAID = {
    "auth": ("required pam_faillock.so preauth", "[default=die] pam_faillock.so authfail"),
    "account": ("pam_unix.so no_pass_expiry", "required pam_faillock.so"),
    "password": ("requisite pam_pwquality.so", f"requisite pam_pwhistory.so remember={REMEMBERED}"),
    "session": ("pam_umask.so nousergroups",),
    "session-noninteractive": ("pam_umask.so nousergroups",),
}
_EMPTY = "nullok"
_EDITED = (LOGIN_DEFS, USERADD_FILE, SU_FILE, BASHRC)
"""Debian's, of which single lines are changed."""
_CLOSED = tuple(Closed(path, mode) for path, mode in MODES.items())
_NAME = "accounts"
_MARK = f"/var/lib/bastide/guard/{_NAME}/settled"
_BEGIN, _END = "# Bastide (deploys/accounts.py): begin", "# Bastide (deploys/accounts.py): end"
# A second call is the way back: the stacks lie there as they were, and pam-auth-update would make others of them. The
# mark lies where a change is kept that is not confirmed yet (deploys/remote/change.py), and goes with it.
_SETTLE = f"""\
[ ! -e {_MARK} ] || exit 0
: >{_MARK} || exit 1
DEBIAN_FRONTEND=noninteractive pam-auth-update --package --enable {" ".join(PROFILE_NAMES)} --disable unix >/dev/null ||
    exit 1
has() {{
    tr -s ' \\t' ' ' <"$1" | grep -v '^#' | grep -qF -- "$2" && return
    echo "$1 has no line with '$2': somebody changed it by hand, and pam-auth-update leaves it" >&2
    echo " next: see what it is for, then \\`pam-auth-update --force\\` there, and deploy again" >&2
    exit 1
}}
{{said}}
visudo -cq
"""


@dataclass(frozen=True)
class Wanted:
    """The settings; the accounts that programs log in as; those that have a home."""

    accounts: Accounts
    programs: tuple[str, ...]
    at_home: tuple[str, ...]


@deploy("accounts")
def accounts(wanted: Wanted) -> None:
    """What decides who gets in and becomes root, under a dead man's switch; then what sessions begin with."""
    host = this_host()
    packages(name="packages", names=PACKAGES)
    empty_group(name="group for su", group=SU_GROUP)
    facts = ask(host, CONTENTS.request([*_EDITED, *_COMMON.values()]), INSTALLED.request([_CRON]))
    there = facts[CONTENTS]
    # a new session reads all of it: a key that opens none any more, or a sudo that refuses, takes it back
    confirmed(
        name="PAM and sudo",
        name_=_NAME,
        wanted=guarded_files(wanted, there),
        settle=settle(),
        port=None,
        drift=drift(there),
        kept=KEPT,
    )
    files(name="shells", name_="shells", wanted=shell_files(wanted, there))
    files(name="banner", name_="banner", wanted=banner_files(wanted))
    files(name="who may plan jobs", name_="jobs", wanted=job_files(wanted, cron=facts[INSTALLED][_CRON]))
    close(name="modes", wanted=_CLOSED)
    closed_homes(name="homes", accounts=wanted.at_home)
    nologin_shells(name="accounts of the system")


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    users: Users = here.settings.users
    checks = (users.verification.name,) if users.verification else ()
    at_home = ("root", users.automation.name, *users.people)
    return Wanted(here.settings.accounts, (users.automation.name, *checks), at_home)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    written = (
        *guarded_files(wanted, {}),
        *shell_files(wanted, {}),
        *banner_files(wanted),
        *job_files(wanted, cron=True),
    )
    return merged(
        packages_request((*PACKAGES, _CRON)),
        files_request(written),
        close_request(_CLOSED),
        CONTENTS.request([*_EDITED, *_COMMON.values()]),
        GROUPS.request([SU_GROUP]),
        HOMES.request(sorted(wanted.at_home)),
        FALSE_SHELLS.request(None),
    )


def drift(there: Mapping[str, str]) -> str:
    """Why PAM does not do what the profiles say although they may be as wanted; "" when it does."""
    stacks = {name: _lines(there.get(path, "")) for name, path in _COMMON.items()}
    for name, lines in stacks.items():
        missing = [said for said in _SAID[name] if not any(said in line for line in lines)]
        if missing:
            return f'{_COMMON[name]} has no line with "{missing[0]}"'
        if any(_EMPTY in line.split() for line in lines):
            return f"{_COMMON[name]} takes empty passwords"
    return ""


def settle() -> str:
    """The shell line that has PAM take the profiles, and looks whether it did."""
    said = "\n".join(f"has {_COMMON[name]} {_quoted(one)}" for name, lines in _SAID.items() for one in lines)
    return _SETTLE.replace("{said}", said)


def guarded_files(wanted: Wanted, there: Mapping[str, str]) -> tuple[File, ...]:
    """What decides who gets in and becomes root; `there`: the texts of Debian's files, by path."""
    told = {"accounts": wanted.accounts, "remembered": REMEMBERED}
    return (
        *(File(f"{PROFILES}/{name}", render(f"accounts/{name}.j2", **told)) for name in PROFILE_NAMES),
        File(FAILLOCK_FILE, render("accounts/faillock.conf.j2", **told)),
        File(PWHISTORY_FILE, render("accounts/pwhistory.conf.j2", **told)),
        File(PWQUALITY_FILE, render("accounts/pwquality.conf.j2", **told)),
        File(LOGIN_DEFS, with_values(there.get(LOGIN_DEFS, ""), wanted_login_values(wanted.accounts), "\t")),
        File(SU_FILE, with_wheel(there.get(SU_FILE, ""))),
        File(
            SUDO_FILE,
            render("accounts/sudoers.j2", log=SUDO_LOG, programs=wanted.programs, **told),
            mode=0o440,
            check="visudo -cqf",
        ),
    )


def shell_files(wanted: Wanted, there: Mapping[str, str]) -> tuple[File, ...]:
    """What a shell begins with, what a new account gets, and how long sudo's log is kept."""
    return (
        File(SHELL_FILE, render("accounts/bastide.sh.j2", accounts=wanted.accounts)),
        File(BASHRC, with_block(there.get(BASHRC, ""), (f"umask {wanted.accounts.umask}", f". {SHELL_FILE}"))),
        File(USERADD_FILE, with_values(there.get(USERADD_FILE, ""), {"INACTIVE": str(INACTIVE_DAYS)}, "=")),
        File("/etc/logrotate.d/bastide-sudo", render("accounts/logrotate.j2", log=SUDO_LOG)),
    )


def banner_files(wanted: Wanted) -> tuple[File, ...]:
    """What everybody reads before they log in."""
    return tuple(File(path, f"{wanted.accounts.banner}\n") for path in BANNERS)


def job_files(wanted: Wanted, *, cron: bool) -> tuple[File, ...]:
    """Who may use crontab(1) and at(1). Without `cron` there is no group for the first."""
    text = render("accounts/allow.j2", names=("root", *wanted.accounts.jobs))
    return tuple(
        File(path, text, mode=0o640, group=group) for path, group in JOBS.items() if cron or group != "crontab"
    )


def with_values(text: str, values: Mapping[str, str], between: str) -> str:
    """A text of keys and values with these: each where it stands first, or at the end."""
    lines, left = [], dict(values)
    for line in text.splitlines():
        key = re.split(r"[\s=]", line.strip(), maxsplit=1)[0]
        if key not in values:
            lines.append(line)
        elif key in left:
            lines.append(f"{key}{between}{left.pop(key)}")
    return "\n".join([*lines, *(f"{key}{between}{value}" for key, value in left.items())]) + "\n"


def with_wheel(text: str) -> str:
    """pam.d/su, in which nobody but root and the group's members goes on after root was let through."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*auth\s.*pam_wheel\.so", line)]
    root = next((n for n, line in enumerate(lines) if re.match(r"\s*auth\s.*pam_rootok\.so", line)), None)
    ours = [f"auth       required   pam_wheel.so use_uid group={SU_GROUP}"]
    if root is None:
        root, ours = -1, ["auth       sufficient pam_rootok.so", *ours]
    return "\n".join([*lines[: root + 1], *ours, *lines[root + 1 :]]) + "\n"


def with_block(text: str, lines: tuple[str, ...]) -> str:
    """A text with these lines at its end, in the place of those that an earlier deploy put there."""
    rest = re.sub(rf"{re.escape(_BEGIN)}\n.*?{re.escape(_END)}\n", "", text, flags=re.DOTALL)
    return f"{rest}{'' if rest.endswith(chr(10)) or not rest else chr(10)}" + "\n".join([_BEGIN, *lines, _END]) + "\n"


def _lines(text: str) -> list[str]:
    """With single spaces, without comments."""
    return [" ".join(line.split()) for line in text.splitlines() if not line.startswith("#")]


def _quoted(text: str) -> str:
    return f"'{text}'"
