"""Scripts on a machine as the account of the checks, by the one program that it is let to: what is listed there is run
as root, and nothing else (docs/decisions/0031)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bastide.console import run

_LOST = 255  # ssh(1), EXIT STATUS: the connection, and nothing that ran


@dataclass(frozen=True)
class Said:
    """What a script ended with and printed, or why it was not run (`refused`)."""

    code: int = 0
    out: str = ""
    err: str = ""
    refused: str = ""


def through_gate(
    ssh_config: Path, name: str, scripts: Mapping[str, tuple[str, tuple[str, ...]]], *, merged: bool, timeout: float
) -> dict[str, Said] | None:
    """What a machine says to scripts (texts with their words, by key); None when it does not answer over ssh.

    `merged`: both outputs as one. A machine where the account may run nothing refuses all of them.
    """
    request = [{"key": key, "text": text, "words": words, "merged": merged} for key, (text, words) in scripts.items()]
    # no command: the account's keys open this one program, which reads a request
    words = ["ssh", "-F", str(ssh_config), name]
    done = run(words, input=json.dumps({"scripts": request}), check=False, timeout=timeout)
    if done.returncode == _LOST:
        return None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        answer = {"problem": last}
    refused = dict.fromkeys(scripts, str(answer["problem"])) if "problem" in answer else answer["refused"]
    return {key: Said(refused=refused[key]) if key in refused else Said(**answer["outputs"][key]) for key in scripts}
