"""Runs on a machine as root, after sshd_config.py: the keys that would open each account, from every file that any
settings of sshd's name, `Match` blocks and all."""

from __future__ import annotations

import json
import os
import pwd
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.sshd_config import _lines, files

_BYTES = 1 << 20
_KEY = re.compile(r"(^|[ ,\t])(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+[ \t]+AAAA")


def keys(plan: dict[str, Any]) -> None:
    """`plan`: config. Prints a line for each key: the account, and the key's line as it stands there."""
    for account in pwd.getpwall():
        for pattern in sorted(_named(plan["config"])):
            for line in _text(_path(pattern, account), account).splitlines():
                if _KEY.search(line):
                    print(account.pw_name, line)


def _text(path: Path, account: pwd.struct_passwd) -> str:
    """A file as sshd reads it, which is as the account: a link to what is root's shows nothing, a pipe holds nobody
    up."""
    if root := os.geteuid() == 0:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(_BYTES).decode(errors="replace") if regular else ""
    except OSError:
        return ""
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups([])


def _named(config: str) -> set[str]:
    """What the files say, wherever it stands, and what sshd takes when they say nothing."""
    found = {
        word for path in files(config) for keyword, words in _lines(path) if keyword == "authorizedkeysfile"
        for word in words
    }  # fmt: skip
    told = subprocess.run(("sshd", "-T"), capture_output=True, text=True, check=False).stdout
    for line in re.findall(r"^authorizedkeysfile (.+)$", told, re.MULTILINE):
        found.update(line.split())
    return found - {"none"}


def _path(pattern: str, account: pwd.struct_passwd) -> Path:
    """sshd_config(5), TOKENS; what is relative is in the account's home."""
    tokens = {"%%": "%", "%h": account.pw_dir, "%u": account.pw_name, "%U": str(account.pw_uid)}
    text = re.sub("%[%huU]", lambda found: tokens[found[0]], pattern)
    return Path(account.pw_dir, text)


if __name__ == "__main__":
    keys(json.loads(sys.argv[1]))
