"""Runs on the machine: homes, and files in them that a shell reads at its start, that others may read or write."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator

from deploys.remote.facts.common import at

HOME_BITS, FILE_BITS = 0o027, 0o037


def homes(names: list[str]) -> list[str]:
    """The paths of those that are more open than that, of these accounts: a home of somebody else may hold a site."""
    return sorted(path for user in pwd.getpwall() if user.pw_name in names for path in _of(user))


def too_open(mode: int) -> int:
    """What of a mode (st_mode) is too much; 0 for what is neither a folder nor a plain file."""
    if stat.S_ISDIR(mode):
        return mode & HOME_BITS
    return mode & FILE_BITS if stat.S_ISREG(mode) else 0


def _of(user: pwd.struct_passwd) -> Iterator[str]:
    home = at(user.pw_dir)
    try:
        # a home that is root's (the checks' account has /) is nobody's to close
        state = home.lstat()
        if state.st_uid != user.pw_uid or user.pw_dir == "/" or not stat.S_ISDIR(state.st_mode):
            return
        inside = [entry for entry in os.scandir(home) if entry.name.startswith(".")]
    except OSError:
        return
    if too_open(state.st_mode):
        yield user.pw_dir
    for entry in inside:
        found = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISREG(found) and too_open(found):
            yield f"{user.pw_dir}/{entry.name}"
