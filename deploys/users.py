"""Who can log in: the declared people and the automation account, with exactly their keys, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from pyinfra.api.deploy import deploy

from bastide.checks import listed_scripts
from bastide.errors import BastideError
from bastide.layout.users import GATE, KEY_DIR, LISTED, SUDOERS
from bastide.machines import Inventory
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
from deploys.selection import for_people

PACKAGES = ("procps", "sudo")
# sshd(8), "AUTHORIZED_KEYS FILE FORMAT": nothing may be forwarded; a terminal, commands and sftp stay
_AUTOMATION_OPTIONS = "restrict,pty "
# one program, whatever is asked for
_CHECKS_OPTIONS = f'restrict,command="{GATE}" '
_listings: dict[str, gevent.Greenlet] = {}


@dataclass(frozen=True)
class Wanted:
    """The settings; `listing` becomes the scripts that the checks may run, by machine: they are asked for meanwhile."""

    users: Users
    machine: str
    listing: gevent.Greenlet | None = None

    @property
    def listed(self) -> dict[str, str] | None:
        """The scripts of this machine by their digests; None without an account for checks. Raises `BastideError`."""
        if self.listing is None:
            return None
        found: dict[str, dict[str, str]] | BastideError = self.listing.get()
        if isinstance(found, BastideError):
            raise found
        return found[self.machine]

    def to_json(self) -> dict[str, Any]:
        """What pyinfra may print of it."""
        return self.users.to_json()


@deploy("users")
def users(wanted: Wanted) -> None:
    """Accounts, then keys and sudo rights, then the removal of everybody else."""
    host = this_host()
    who = roster(wanted.users)
    with for_people():
        gate = gate_files(wanted.listed)
    for sentence in undeclared(who, ask(host, ACCOUNTS.request(who.asked))[ACCOUNTS]):
        host.log(f"! {sentence}")
    packages(name="packages", names=PACKAGES)
    accounts(name="accounts", roster=who)
    # before the key that opens it and the right to be root for it
    files(name="what checks may run", name_="checks", wanted=gate)
    # guarded: another automation key, or a sudoers file that sudo reads otherwise than meant, must not lock us out;
    # at the port of this very session: on a new machine ssh.port is where sshd will be, not where it is
    confirmed(name="keys and sudo rights", name_="users", wanted=key_files(wanted.users), settle="", port=None)
    # last: the image's own sudo rule for the automation account goes only when ours is known to work
    leavers(name="nobody else", roster=who)


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack. The checks' own account of their scripts takes a moment: it is begun here."""
    if here.settings.users.verification is None:
        return Wanted(here.settings.users, here.machine.name)
    assert here.inventory, "hosts/inventory.py gives it to all"
    if here.stack not in _listings:
        _listings[here.stack] = gevent.spawn(_listing, here.inventory)
    return Wanted(here.settings.users, here.machine.name, _listings[here.stack])


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    paths = (*key_files(wanted.users), *gate_files(None))
    asked = ACCOUNTS.request(roster(wanted.users).asked)
    return merged(packages_request(PACKAGES), files_request(paths), asked)


def roster(wanted: Users) -> Roster:
    """All account names that the settings speak of."""
    checks = wanted.verification.name if wanted.verification else ""
    return Roster((wanted.automation.name, *wanted.people), wanted.removed, checks)


def gate_files(listed: dict[str, str] | None) -> tuple[File, ...]:
    """What the account of the checks may run as root (None: there is no such account): a program, and its list."""
    if listed is None:
        return (File(GATE, None), File(LISTED, None))
    program = Path(__file__).with_name("remote") / "gate.py"
    start = f'\n\nif __name__ == "__main__":\n    main("{GATE}")\n'
    return (
        File(GATE, f"#!/usr/bin/python3 -IS\n{program.read_text(encoding='utf-8')}{start}", mode=0o755),
        File(LISTED, render("users/checks.j2", listed=sorted(listed.items(), key=lambda one: one[::-1]))),
    )


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


def _listing(inventory: Inventory) -> dict[str, dict[str, str]] | BastideError:
    """An error is told to whoever needs the answer, and not by gevent."""
    try:
        return listed_scripts(inventory)
    except BastideError as error:
        return error
