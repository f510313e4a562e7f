"""Runs on a machine as root: modes of homes, of what shells read at their start, of cron's files, and who may use su.

Standard library only. It changes nothing.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import sys
from pathlib import Path
from typing import Any


def seen(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: paths (whose modes are asked for), group, closed (shells that let nobody in), banners (paths).

    Returns `modes` (mode, owner and group by path), `homes` (the same, of homes and what lies in them that shells
    read), `members` of the group (None without it), and the `banners`' texts.
    """
    modes = {path: found for path in plan["paths"] if (found := _state(Path(path)))}
    homes: dict[str, list[Any]] = {}
    for user in pwd.getpwall():
        home = Path(user.pw_dir)
        if user.pw_shell in plan["closed"] or user.pw_dir == "/" or 0 < user.pw_uid < 1000 or not home.is_dir():
            continue
        homes[user.pw_dir] = _state(home) or []
        for entry in os.scandir(home):
            if entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                homes[entry.path] = _state(Path(entry.path)) or []
    try:
        members = list(grp.getgrnam(plan["group"]).gr_mem)
    except KeyError:
        members = None
    banners = {path: Path(path).read_text(errors="replace") for path in plan["banners"] if Path(path).is_file()}
    return {"modes": modes, "homes": homes, "members": members, "banners": banners}


def _state(path: Path) -> list[Any]:
    try:
        state = path.lstat()
    except OSError:
        return []
    return [stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid]


if __name__ == "__main__":
    print(json.dumps(seen(json.loads(sys.argv[1]))))
