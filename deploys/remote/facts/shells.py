"""Runs on the machine: shells of accounts that are the system's."""

from __future__ import annotations

import pwd

from deploys.remote.facts.accounts import PEOPLE


def false_shells(_: None) -> list[str]:
    """Accounts of the system that let nobody in by false(1), which does not say so."""
    return sorted(
        user.pw_name
        for user in pwd.getpwall()
        if 0 < user.pw_uid < PEOPLE.start and user.pw_shell in ("/bin/false", "/usr/bin/false")
    )
