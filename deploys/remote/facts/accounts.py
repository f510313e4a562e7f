"""Runs on the machine: who could log in, and who may become root."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

from deploys.remote.facts.common import STATE, at, called, entries, read, read_in_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.accounts import Account, AccountsState

KEY_DIR = "/etc/ssh/authorized_keys.d"
HOME_KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")
PEOPLE = range(1000, 60001)  # login.defs(5), UID_MIN to UID_MAX
LEFT_UIDS = f"{STATE}/left-uids"
_NO_LOGIN = ("nologin", "false", "sync")


def accounts(names: list[str]) -> AccountsState:
    """All accounts that could log in, those asked for, their keys, and who may become root."""
    shadow = {line.split(":")[0]: line.split(":") for line in read("/etc/shadow").splitlines()}
    found = {}
    for user in pwd.getpwall():
        home_keys = _keys_of(user)
        if user.pw_uid in PEOPLE or home_keys or user.pw_name in names:
            found[user.pw_name] = _account(user, shadow.get(user.pw_name, ["", "*"]), home_keys)
    return {
        "accounts": found,
        "key_files": [path.name for path in entries(KEY_DIR)],
        "sudoers": [
            path.name
            for path in entries("/etc/sudoers.d")
            if path.name not in ("README", "bastide", "bastide-accounts") and not _packaged(path)
        ],
        "homes": sorted(name for name in names if name not in found and at(f"/home/{name}").is_dir()),
        "next_uid": max([PEOPLE.start - 1, *_numbers()]) + 1,
    }


def _account(user: pwd.struct_passwd, shadow: list[str], home_keys: list[str]) -> Account:
    return {
        "uid": user.pw_uid,
        "home": user.pw_dir,
        "comment": user.pw_gecos,
        "login": user.pw_shell.rpartition("/")[2] not in _NO_LOGIN,
        "shell": user.pw_shell,
        "password": shadow[1][:1] not in ("*", "!"),
        "ages": len(shadow) > 4 and shadow[4] not in ("", "-1", "99999"),
        "expired": len(shadow) > 7 and shadow[7] not in ("", "-1"),
        "groups": sorted(group.gr_name for group in grp.getgrall() if user.pw_name in group.gr_mem),
        "home_keys": home_keys,
    }


def _keys_of(user: pwd.struct_passwd) -> list[str]:
    """Key files in the home that hold at least one line; a home that cannot be read counts as none."""
    held = []
    for name in HOME_KEYS:
        text = read_in_home(user.pw_dir, name)
        if text is None or any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
            held.append(f"{user.pw_dir}/{name}")
    return held


def _numbers() -> list[int]:
    """The numbers of people's accounts, those of people who left among them (LEFT_UIDS has them)."""
    there = [user.pw_uid for user in pwd.getpwall() if user.pw_uid in PEOPLE]
    return there + [int(word) for word in read(LEFT_UIDS).split() if word.isdigit()]


def _packaged(path: Path) -> bool:
    inside = called(path)
    return any(inside in read(listing).splitlines() for listing in _owners(path.name))


def _owners(name: str) -> list[Path]:
    return [p for p in entries("/var/lib/dpkg/info") if p.suffix == ".list" and f"/{name}\n" in read(p)]
