"""Who can log in."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import accounts as on_machine


class Account(TypedDict):
    """`login`: whether its shell lets anybody in; `password`: whether it has one; `ages`: whether it, or none, gets too
    old one day; `home_keys`: key files at home."""

    uid: int
    home: str
    comment: str
    login: bool
    shell: str
    password: bool
    ages: bool
    expired: bool
    groups: list[str]
    home_keys: list[str]


class AccountsState(TypedDict):
    """Accounts by name; names of key files and of sudoers files that are not ours; homes of accounts that are gone.

    `next_uid`: the next number that nobody ever had here: files of somebody who left must not come to somebody else.
    """

    accounts: dict[str, Account]
    key_files: list[str]
    sudoers: list[str]
    homes: list[str]
    next_uid: int


ACCOUNTS = Fact(on_machine.accounts)
"""All that could log in, and those that are asked for."""
