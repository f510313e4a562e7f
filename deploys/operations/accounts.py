"""Accounts: exactly the declared ones can log in."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from bastide.layout.users import BACKUP, CHECKS_COMMENT, KEY_DIR
from deploys.facts.accounts import ACCOUNTS, Account, AccountsState
from deploys.facts.ask import ask, forget, this_host
from deploys.remote.facts.accounts import LEFT_UIDS

SHELL = "/bin/bash"
# sshd runs the one program of the account with it; no home, and nothing that is read at its start
CHECKS_SHELL, CHECKS_HOME = "/bin/sh", "/"
# who has no password has none that gets too old: PAM would refuse the key then (pam_unix(8), shadow(5))
_AGELESS = "--inactive -1 --key PASS_MAX_DAYS=-1"
_Commands = Generator[PyinfraCommand | str, None, None]


@dataclass(frozen=True)
class Roster:
    """Account names: who can log in, who left, and the account of the checks ("" for none), which gets no session."""

    declared: tuple[str, ...]
    removed: tuple[str, ...]
    checks: str = ""

    @property
    def known(self) -> tuple[str, ...]:
        """All that a key may open."""
        return (*self.declared, self.checks) if self.checks else self.declared

    @property
    def asked(self) -> list[str]:
        """The names that a machine is asked about."""
        return sorted({*self.known, *self.removed, "root"})

    def was_of_checks(self, name: str, account: Account) -> bool:
        """Whether it was made for checks, and is not declared any more."""
        return account["comment"] == CHECKS_COMMENT and name not in self.known


@operation()
def accounts(roster: Roster) -> _Commands:
    """Make the declared accounts: a home, a shell, no password, no group but their own."""
    yield from _carry_out(roster, declared_commands)


@operation()
def leavers(roster: Roster) -> _Commands:
    """Remove who left, and lock every other account that could log in; say so for each.

    What people had in their homes is kept for root under /var/backups/bastide: files may be needed after a farewell.
    """
    yield from _carry_out(roster, leaver_commands)


@operation()
def home_keys(roster: Roster) -> _Commands:
    """Move away key files in homes: the ssh server reads only those that root writes. To be called once it does."""
    yield from _carry_out(roster, home_key_commands)


@operation()
def no_login(account: str) -> _Commands:
    """Let nobody log in as an account that a package made for its service.

    + account: its name; programs still run as it (runuser(1), systemd's User=)
    """
    host = this_host()
    seen = ask(host, ACCOUNTS.request([account]))[ACCOUNTS]["accounts"].get(account)
    if seen is None or not seen["login"]:
        host.noop(f"nobody logs in as {account}")
        return
    try:
        yield f"usermod --shell /usr/sbin/nologin {account}"
    finally:
        forget(host)


def declared_commands(roster: Roster, seen: AccountsState) -> list[str]:
    """What makes the declared accounts right, and takes root's password away: it came from a provider's console."""
    root = seen["accounts"].get("root")
    commands = ["usermod --lock root"] if root and root["password"] else []
    number = seen["next_uid"]
    for name in roster.known:
        account = seen["accounts"].get(name)
        shell = CHECKS_SHELL if name == roster.checks else SHELL
        if account is None:
            if name in seen["homes"]:
                # of an earlier account, with the files of another uid: not this person's
                commands.append(_keep(f"/home/{name}", "homes", name))
            home = "--create-home"
            if name == roster.checks:
                home = f"--no-create-home --home-dir {CHECKS_HOME} --comment {shlex.quote(CHECKS_COMMENT)}"
            commands.append(
                f"useradd {home} --user-group --shell {shell} --password '*' {_AGELESS} --uid {number} {name}"
            )
            number += 1
            continue
        options = []
        if not account["login"]:
            options.append(f"--shell {shell}")
        if account["password"]:
            options.append("--password '*'")
        if account["expired"]:
            options.append("--expiredate ''")
        if account["groups"]:
            options.append("--groups ''")
        if options:
            commands.append(f"usermod {' '.join(options)} {name}")
        if account["ages"]:
            commands.append(f"chage --maxdays -1 --inactive -1 {name}")
    return commands


def leaver_commands(roster: Roster, seen: AccountsState) -> list[str]:
    """What removes who left, locks who is not known, and takes away rights that nobody declared."""
    commands = [f"rm -f {KEY_DIR}/{shlex.quote(n)}" for n in seen["key_files"] if n not in roster.known]
    commands += [_keep(f"/etc/sudoers.d/{n}", "sudoers.d", n) for n in seen["sudoers"]]
    for name, account in seen["accounts"].items():
        if roster.was_of_checks(name, account):
            commands += [_end_sessions(name), _never_again(account), f"userdel {name}"]
        elif name in roster.removed:
            commands += [_end_sessions(name), f"rm -f /var/lib/systemd/linger/{name} /var/spool/cron/crontabs/{name}"]
            commands.append(_never_again(account))
            # the account goes before its home, so that nobody can come back to a half-moved one
            commands += [f"userdel {name}", _keep(account["home"], "homes", name)]
        elif name not in roster.known and account["uid"] >= 1000 and (account["login"] or account["groups"]):
            lock = f"usermod --lock --expiredate 1 --shell /usr/sbin/nologin --groups '' {name}"
            commands += [lock, _end_sessions(name)]
    commands += [_keep(f"/home/{name}", "homes", name) for name in roster.removed if name in seen["homes"]]
    return commands


def home_key_commands(roster: Roster, seen: AccountsState) -> list[str]:
    """What moves key files out of homes."""
    return [
        _keep(path, "keys", f"{name}.{PurePosixPath(path).name}")
        for name, account in seen["accounts"].items()
        for path in account["home_keys"]
    ]


def undeclared(roster: Roster, seen: AccountsState) -> list[str]:
    """Sentences for the user on what is there and was never declared."""
    told = []
    for name, account in seen["accounts"].items():
        if roster.was_of_checks(name, account):
            told.append(f"the account {name} was for checks and is not declared any more: it is removed")
        elif name not in roster.asked and account["uid"] >= 1000 and (account["login"] or account["groups"]):
            told.append(
                f"the account {name} is not declared: it is locked and its home stays;"
                " declare it, or name it in users.removed"
            )
    told += [f"/etc/sudoers.d/{name} is not declared: it is moved to {BACKUP}" for name in seen["sudoers"]]
    told += [
        f"{path} of {name} is not used any more: it is moved to {BACKUP}"
        for name, account in seen["accounts"].items()
        if name not in roster.removed
        for path in account["home_keys"]
    ]
    return told


def _carry_out(roster: Roster, commands_for: Callable[[Roster, AccountsState], list[str]]) -> _Commands:
    host = this_host()
    commands = commands_for(roster, ask(host, ACCOUNTS.request(roster.asked))[ACCOUNTS])
    if not commands:
        host.noop("accounts are as wanted")
        return
    try:
        yield from commands
    finally:
        forget(host)


def _keep(path: str, kind: str, name: str) -> str:
    """Move something to a place that only root can read; nothing happens when it is gone already."""
    where = f"{BACKUP}/{kind}"
    source = shlex.quote(path)
    return (
        f'[ ! -e {source} ] || {{ to={where}/{shlex.quote(name)}."$(date +%Y%m%dT%H%M%S)" && '
        f'install -d -m 0700 {BACKUP} {where} && mv -T {source} "$to" && chown -Rh root:root "$to"; }}'
    )


def _never_again(account: Account) -> str:
    """Its number is never given to anybody again: files of it may lie anywhere."""
    return f"mkdir -p {PurePosixPath(LEFT_UIDS).parent} && echo {account['uid']} >>{LEFT_UIDS}"


def _end_sessions(name: str) -> str:
    """End all of an account's processes and wait until they are gone (userdel(8) refuses while there are any)."""
    return f"for try in $(seq 100); do pkill -KILL -u {name} || break; sleep 0.1; done; ! pgrep -u {name} >/dev/null"
