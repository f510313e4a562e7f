"""Runs on a machine as root: what its kernel says now, and what it will be told at the next boot.

Standard library only. It changes nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_SYS = Path("/proc/sys")


def seen(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: paths (below /proc/sys; `*` is a folder of any name), unit (of systemd, that tells the kernel at boot).

    Returns the `values` by path (each that `*` stands for), which paths are `missing`, the kind of `container`,
    `files` (all that is read at boot, in its order) and the `unit`'s state.
    """
    found: dict[str, Any] = {"values": {}, "missing": []}
    for path in plan["paths"]:
        there = [one for one in _matching(path) if (_SYS / one).exists()]
        if not there:
            found["missing"].append(path)
        for one in there:
            found["values"][one] = " ".join((_SYS / one).read_text(encoding="utf-8").split())
    return found | {
        "container": _said("systemd-detect-virt", "--container"),
        "files": _said("/usr/lib/systemd/systemd-sysctl", "--cat-config"),
        "unit": _said("systemctl", "show", "-P", "LoadState", plan["unit"]),
    }


def _matching(path: str) -> list[str]:
    before, star, after = path.partition("/*/")
    if not star:
        return [path]
    return [f"{before}/{one.name}/{after}" for one in sorted((_SYS / before).glob("*"))]


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    print(json.dumps(seen(json.loads(sys.argv[1]))))
