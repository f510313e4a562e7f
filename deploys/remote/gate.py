"""Runs on the machine for the account of the checks: the scripts that are listed, as root, and nothing else.

Its account's keys open this program alone (sshd(8), "command="), and it is all that sudo lets the account run, without
a word. It reads one request, {"scripts": [{"key", "text", "words", "merged"}]}, runs those whose texts have a SHA-256
in the list that the deploy wrote, and prints {"outputs": {key: {"code", "out", "err"}}, "refused": {key: why}}.
Whatever it does not understand it refuses; without a request it does nothing. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import syslog
import time
from typing import Any, NoReturn

LISTED = "/etc/bastide/checks"
WORD = "[0-9A-Za-z:][0-9A-Za-z.:_-]{0,255}"
REQUEST_BYTES, SCRIPTS, WORDS = 4 << 20, 200, 300
SECONDS, READ_SECONDS = 280.0, 60
# Nothing of the caller's: sudo takes away most, and this the rest. Programs answer in one language.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    **{"LC_ALL": "C.UTF-8", "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"},
}


class Refused(Exception):
    """Why nothing is run."""


def main(me: str) -> None:
    """`me` is the path of this program."""
    if os.geteuid() != 0:
        # what ssh was told to run: a client that wants a shell shall hear that there is none
        if os.environ.get("SSH_ORIGINAL_COMMAND", "") not in ("", "true"):
            _end("this account runs the checks' listed scripts and nothing else")
        # nothing of the client's goes along; root can read with the process of sudo whence it comes, and a check does
        kept = {"LC_ALL": "C.UTF-8", "SSH_CONNECTION": os.environ.get("SSH_CONNECTION", "")}
        os.execve("/usr/bin/sudo", ["sudo", "-n", me], kept)  # noqa: S606
    syslog.openlog("bastide-checks", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    try:
        signal.alarm(READ_SECONDS)
        scripts = parsed(sys.stdin.buffer.read(REQUEST_BYTES + 1))
        signal.alarm(0)
        answer = answered(scripts, read_list(LISTED)) if scripts else None
    except Refused as problem:
        syslog.syslog(syslog.LOG_WARNING, f"refused: {problem}")
        _end(str(problem))
    if answer is not None:
        print(json.dumps(answer))


def parsed(request: bytes) -> list[dict[str, Any]]:
    """The scripts of a request, each of the expected form; none of an empty one. Raises `Refused`."""
    if not request:
        return []
    if len(request) > REQUEST_BYTES:
        raise Refused("the request is too long")
    try:
        scripts = json.loads(request)["scripts"]
        rightly = isinstance(scripts, list) and 0 < len(scripts) <= SCRIPTS and all(map(_well_formed, scripts))
    except (ValueError, KeyError, TypeError, RecursionError):
        rightly = False
    if not rightly:
        raise Refused("the request is not understood")
    return list(scripts)


def read_list(path: str, owner: int = 0) -> dict[str, str]:
    """The names of the scripts that may run, by the SHA-256 of their texts. Raises `Refused` for a list that anybody
    but root could have written."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), encoding="utf-8") as file:  # noqa: PTH123
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_uid != owner or info.st_mode & 0o022:
                raise Refused("others than root can write the list")
            lines = [line.rstrip("\n").partition("  ") for line in file if not line.startswith("#")]
    except (OSError, ValueError):
        raise Refused("there is no list") from None
    return {digest: name for digest, _, name in lines if re.fullmatch("[0-9a-f]{64}", digest) and name}


def answered(scripts: list[dict[str, Any]], listed: dict[str, str]) -> dict[str, Any]:
    """What each printed, and why one was not run."""
    ends = time.monotonic() + SECONDS
    outputs, refused = {}, {}
    for one in scripts:
        text = one["text"].encode()
        digest = hashlib.sha256(text).hexdigest()
        name = listed.get(digest)
        if name is None:
            refused[one["key"]] = "it is not listed"
        elif wrong := [word for word in one["words"] if not re.fullmatch(WORD, word, re.ASCII)]:
            refused[one["key"]] = f"{ascii(wrong[0])[:80]} is no word for it"
        else:
            _log(syslog.LOG_INFO, f"ran {name} ({digest[:16]}) {' '.join(one['words'])}")
            outputs[one["key"]] = _run(text, one["words"], merged=one["merged"], ends=ends)
            continue
        _log(syslog.LOG_WARNING, f"refused {name or 'a script'} ({digest[:16]})")
    return {"outputs": outputs, "refused": refused}


def _run(text: bytes, words: list[str], *, merged: bool, ends: float) -> dict[str, Any]:
    """As `sh -c TEXT sh WORDS`, with nothing to read; a group of its own ends with all its children."""
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", text, "sh", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return {"code": 126, "out": "", "err": str(error.strerror)}
    try:
        out, err = process.communicate(timeout=max(ends - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return {
        "code": process.returncode,
        "out": out.decode(errors="replace"),
        "err": (err or b"").decode(errors="replace"),
    }


def _well_formed(script: object) -> bool:
    if not isinstance(script, dict) or set(script) != {"key", "text", "words", "merged"}:
        return False
    words = script["words"]
    texts = (script["key"], script["text"], *(words if isinstance(words, list) else (None,)))
    if not all(isinstance(one, str) for one in texts) or not isinstance(script["merged"], bool):
        return False
    script["text"].encode()  # half a character is a ValueError
    return len(words) <= WORDS


def _log(priority: int, line: str) -> None:
    who = os.environ.get("SUDO_USER", "root")
    syslog.syslog(priority, f"{who} {line}"[:2000])


def _end(problem: str) -> NoReturn:
    print(json.dumps({"problem": problem}))
    sys.exit(77)
