"""Runs on a machine as root: what the account of the checks can become root for, by trying it as that account.

Every try must be refused; what it would do if it were not is to print a number. Standard library only.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

_PRINTS = "id -u"
_WORDS = ("$(id -u)", "`id -u`", "a;id -u", "a b", "/etc/shadow", "-x", "a\nb", "é", "", "a" * 300)
# what a client could set before it asks: none of it may reach a script
_SET = {"BASTIDE_CANARY": "1", "LC_CANARY": "1", "PATH": "/nonexistent:/usr/bin:/bin", "HOME": "/nonexistent"}
_SET |= {"ENV": "/nonexistent", "BASH_ENV": "/nonexistent", "PYTHONPATH": "/nonexistent", "PYTHONINSPECT": "1"}


def verifier(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: account, gate and listed (paths), known (texts of listed scripts: "who" prints the accounts,
    "environment" its variables)."""
    account, gate = plan["account"], plan["gate"]
    try:
        pwd.getpwnam(account)
    except KeyError:
        return {}
    rights = _run("sudo", "-n", "-l", "-U", account)[1].partition("may run the following commands")[2].splitlines()[1:]
    words = {
        "a shell": ("sh", "-c", _PRINTS),
        "another program": ("/usr/bin/id", "-u"),
        "its program with a word": (gate, "-c"),
        "its program by another name": ("/usr/bin/python3", gate),
        "variables of its own": ("BASTIDE_CANARY=1", gate),
        "another account": ("-u", "nobody", gate),
    }
    who, environment = plan["known"]["who"], plan["known"]["environment"]
    scripts = {
        "another script": _PRINTS,
        "a listed script and a line more": f"{who}\n{_PRINTS}",
        "nothing": "",
        "a digest in its place": 64 * "0",
    }
    asked = _asked(gate, account, *((who, [word]) for word in _WORDS))
    return {
        "rights": [line.strip() for line in rights if line.strip()],
        "sudo": {what: _as(account, "sudo", "-n", *argv)[0] for what, argv in words.items()},
        "scripts": {what: _ran(_asked(gate, account, (text, []))) for what, text in scripts.items()},
        "words": [ascii(word) for number, word in enumerate(_WORDS) if str(number) in asked.get("outputs", {})],
        "works": _printed(_asked(gate, account, (who, []))),
        "environment": _printed(_asked(gate, account, (environment, []), env=_SET)),
        "writable": _writable(account, plan["gate"], plan["listed"]),
        "listed": _listed(plan["listed"]),
    }


def _asked(
    gate: str, account: str, *scripts: tuple[str, list[str]], env: dict[str, str] | None = None
) -> dict[str, Any]:
    """What the account gets for a request, by the number of the script."""
    one = [{"key": str(n), "text": text, "words": words, "merged": True} for n, (text, words) in enumerate(scripts)]
    said = _as(account, "sudo", "-n", gate, input_=json.dumps({"scripts": one}), env=env)[1]
    try:
        return dict(json.loads(said))
    except ValueError:
        return {}


def _ran(answer: dict[str, Any]) -> bool:
    return bool(answer.get("outputs"))


def _printed(answer: dict[str, Any]) -> str:
    return str(answer.get("outputs", {}).get("0", {}).get("out", ""))


def _writable(account: str, *paths: str) -> list[str]:
    """Which of these, and of the folders that they lie in, the account may write."""
    whole = sorted({str(one) for path in paths for one in (Path(path), *Path(path).parents)})
    return [path for path in whole if _as(account, "test", "-w", path)[0] == 0]


def _listed(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.partition(" ")[0] for line in lines if not line.startswith("#")]


def _as(account: str, *argv: str, input_: str = "", env: dict[str, str] | None = None) -> tuple[int, str]:
    return _run("/usr/sbin/runuser", "-u", account, "--", *argv, input_=input_, env=env)


def _run(*argv: str, input_: str = "", env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code of a program, and what it printed."""
    whole = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(argv, input=input_, env=whole, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


if __name__ == "__main__":
    print(json.dumps(verifier(json.loads(sys.argv[1]))))
