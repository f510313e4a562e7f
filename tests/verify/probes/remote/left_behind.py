"""Runs on a machine as root: what is left of people who left, where their account is gone.

A right that stands under a name waits for whoever gets that name again; a program that was started goes on.
"""

from __future__ import annotations

import json
import pwd
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PEOPLE = range(1000, 60_000)  # Debian Policy, 9.2.2
_OWN = ("/etc/ssh/authorized_keys.d", "/var/spool/cron/crontabs", "/var/lib/systemd/linger", "/etc/sudoers.d")


def left_behind(plan: dict[str, Any]) -> list[str]:
    """`plan`: names. Returns what was found, in words."""
    return [*(text for name in plan["names"] for text in _of(name)), *_running()]


def _of(name: str) -> Iterator[str]:
    for path in (Path("/etc/sudoers"), *sorted(Path("/etc/sudoers.d").glob("*"))):
        if any(name in _words(line) for line in _lines(path)):
            yield f"{path} names {name}"
    for path in (Path("/etc/group"), Path("/etc/gshadow")):
        for line in _lines(path):
            group, *_, members = line.split(":")
            if name in members.split(","):
                yield f"{name} is in the group {group} ({path})"
    yield from (f"{folder}/{name} is there" for folder in _OWN if Path(folder, name).exists())


def _words(line: str) -> list[str]:
    """sudoers(5): a # begins a comment, but before a number."""
    return re.findall(r"[\w.@-]+", re.sub(r"(^|\s)#(?![0-9]).*", "", line))


def _running() -> Iterator[str]:
    known = {account.pw_uid for account in pwd.getpwall()}
    for folder in sorted(Path("/proc").glob("[0-9]*")):
        try:
            number = folder.stat().st_uid
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue
        if number in _PEOPLE and number not in known:
            yield f"{name} runs for number {number}, which no account has any more"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


if __name__ == "__main__":
    print(json.dumps(left_behind(json.loads(sys.argv[1]))))
