"""Who can log in: the declared people and the automation account, with exactly their keys, and nobody else."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy

from bastide.layout.users import GATE, KEY_DIR, LISTED, SUDOERS
from bastide.settings import Users
from deploys.facts.accounts import ACCOUNTS
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, merged
from deploys.here import Here
from deploys.operations.accounts import Roster, accounts, leavers, undeclared
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.render import render

PACKAGES = ("procps", "sudo")
# sshd(8), "AUTHORIZED_KEYS FILE FORMAT": nothing may be forwarded; a terminal, commands and sftp stay
_AUTOMATION_OPTIONS = "restrict,pty "
# one program, whatever is asked for
_CHECKS_OPTIONS = f'restrict,command="{GATE}" '


@deploy("users")
def users(wanted: Users) -> None:
    """Accounts, then keys and sudo rights, then the removal of everybody else."""
    host = this_host()
    who = roster(wanted)
    for sentence in undeclared(who, ask(host, ACCOUNTS.request(who.asked))[ACCOUNTS]):
        host.log(f"! {sentence}")
    packages(name="packages", names=PACKAGES)
    accounts(name="accounts", roster=who)
    # before the key that opens it and the right to be root for it; what it may run is listed by deploys/checks.py
    files(name="what checks go through", name_="gate", wanted=(gate_file(wanted),))
    # guarded: another automation key, or a sudoers file that sudo reads otherwise than meant, must not lock us out;
    # at the port of this very session: on a new machine ssh.port is where sshd will be, not where it is
    confirmed(name="keys and sudo rights", name_="users", wanted=key_files(wanted), settle="", port=None)
    # last: the image's own sudo rule for the automation account goes only when ours is known to work
    leavers(name="nobody else", roster=who)


def wanted_of(here: Here) -> Users:
    """What it wants of the stack."""
    return here.settings.users


def fact_request(wanted: Users) -> FactRequest:
    """All that this capability will ask a machine."""
    paths = (*key_files(wanted), gate_file(wanted))
    return merged(packages_request(PACKAGES), files_request(paths), ACCOUNTS.request(roster(wanted).asked))


def roster(wanted: Users) -> Roster:
    """All account names that the settings speak of."""
    checks = wanted.verification.name if wanted.verification else ""
    return Roster((wanted.automation.name, *wanted.people), wanted.removed, checks)


def gate_file(wanted: Users) -> File:
    """The program that the account of the checks may run as root: it runs what is listed, and nothing else."""
    if wanted.verification is None:
        return File(GATE, None)
    program = Path(__file__).with_name("remote") / "gate.py"
    start = f'\n\nif __name__ == "__main__":\n    main("{GATE}")\n'
    return File(GATE, f"#!/usr/bin/python3 -IS\n{program.read_text(encoding='utf-8')}{start}", mode=0o755)


def key_files(wanted: Users) -> tuple[File, ...]:
    """A key file for each declared account, written by root alone, and one sudoers file.

    The ssh server reads keys only from there (templates/ssh): nobody can let somebody else into an account.
    """
    keys: dict[str, tuple[tuple[str, ...], str]] = {
        wanted.automation.name: ((wanted.automation.key,), _AUTOMATION_OPTIONS)
    }
    keys |= {name: (person.keys, "") for name, person in wanted.people.items()}
    if wanted.verification:
        keys[wanted.verification.name] = (wanted.verification.keys, _CHECKS_OPTIONS)
    administrators = [wanted.automation.name, *(name for name, person in wanted.people.items() if person.sudo)]
    return (
        *(
            # readable by all, as sshd reads it with the account's own rights; public keys are no secret
            File(f"{KEY_DIR}/{name}", render("users/authorized_keys.j2", keys=held, options=options))
            for name, (held, options) in keys.items()
        ),
        File(
            SUDOERS,
            render(
                "users/sudoers.j2",
                administrators=administrators,
                checks=roster(wanted).checks,
                gate=GATE,
                listed=LISTED,
            ),
            mode=0o440,
            check="visudo -cqf",
        ),
    )
