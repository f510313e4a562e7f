"""Runs on the machine as root: etcdctl, as etcd's root.

Standard library only, since it is sent to the machine as it stands here. Passwords come over standard input and go to
etcdctl by its environment or standard input, never by argv. `plan`: ctl (etcdctl for root; it names the file with the
environment), root (passwords: the wanted one, then earlier ones; none of them need lie on this machine).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn


def as_root(plan: dict[str, Any], *words: str) -> tuple[str, subprocess.CompletedProcess[str]]:
    """What etcdctl says by the first of root's passwords that opens, and that one; "" and the last refusal for none.

    Any opens as long as nobody asks for one.
    """
    for password in plan["root"]:
        done = run(plan, words, {"ETCDCTL_PASSWORD": password}, None)
        if done.returncode == 0:
            return str(password), done
    return "", done


def root_password(plan: dict[str, Any], *words: str) -> str:
    """The one of root's passwords that opens now. `words`: whom etcdctl asks."""
    password, done = as_root(plan, *words, "user", "list")
    if not password:
        fail(f"none of root's passwords opens etcd: {done.stderr.strip()[-300:]}")
    return password


def ctl(plan: dict[str, Any], *words: str, env: dict[str, str] | None = None, stdin: str | None = None) -> str:
    """What etcdctl prints; it must not fail."""
    done = run(plan, words, env or {}, stdin)
    if done.returncode:
        fail(f"etcdctl {' '.join(words)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def run(
    plan: dict[str, Any], words: tuple[str, ...], env: dict[str, str], stdin: str | None
) -> subprocess.CompletedProcess[str]:
    """Run etcdctl; what `env` says wins over the file that `ctl` reads."""
    values = {**_file_values(plan["ctl"]), "ETCDCTL_USER": "root", **env}
    if any(word.startswith("--endpoints") for word in words):
        values.pop("ETCDCTL_ENDPOINTS")  # etcdctl refuses to be told twice
    return subprocess.run(
        ["/usr/bin/etcdctl", *words],
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **values},
    )


def fail(problem: str) -> NoReturn:
    """End with a sentence."""
    print(problem, file=sys.stderr)
    sys.exit(1)


def _file_values(ctl: str) -> dict[str, str]:
    path = next(line.split()[1] for line in Path(ctl).read_text().splitlines() if line.startswith(". "))
    lines = (line.partition("=") for line in Path(path).read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines}
