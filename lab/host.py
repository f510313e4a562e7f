"""`python3 -m lab.host`: can this machine ever run a lab? Asked first of all, before anything is installed or built.

Runs with any Python 3 of any system: one that is too old or too foreign must get a sentence, not a traceback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# linux/capability.h
_NET_ADMIN, _SYS_ADMIN = 12, 21
_VM = "use Debian 12 or newer on a machine or in a virtual machine of its own"


@dataclass(frozen=True)
class Facts:
    """What is asked of this machine. `bounding` and `effective` are capability sets as numbers (capabilities(7)).

    `mounts` is whether a mount was possible, None when that was not tried.
    """

    system: str
    version: str
    root: bool
    sudo: bool
    bounding: int
    effective: int
    uid_map: str
    mounts: bool | None


def look() -> Facts:
    """The facts of this machine."""
    status = _read("/proc/self/status")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    facts = Facts(
        system=sys.platform,
        version=_read("/proc/version"),
        root=root,
        sudo=shutil.which("sudo") is not None,
        bounding=_set(status, "CapBnd"),
        effective=_set(status, "CapEff"),
        uid_map=_read("/proc/self/uid_map"),
        mounts=None,
    )
    if root and sys.platform == "linux" and not unfit(facts):
        return Facts(**{**facts.__dict__, "mounts": _can_mount()})
    return facts


def unfit(facts: Facts) -> tuple[str, str] | None:
    """Why a lab can never run here, and what to do instead; None when it may. The first reason is the deepest."""
    if facts.system != "linux":
        name = {"darwin": "macOS", "win32": "Windows"}.get(facts.system, facts.system)
        return f"this is {name}: a lab boots Debian machines on a Linux kernel", _VM
    version = facts.version.lower()
    if "microsoft" in version and "wsl2" not in version and "microsoft-standard" not in version:
        return "this is WSL 1, which has no Linux kernel", "in PowerShell: wsl --set-version <distribution> 2"
    if facts.uid_map.split() not in (["0", "0", "4294967295"], []):
        return "this is a user namespace (a rootless container): its root is nobody outside", _VM
    missing = [name for name, bit in (("CAP_SYS_ADMIN", _SYS_ADMIN), ("CAP_NET_ADMIN", _NET_ADMIN))
               if not (facts.effective if facts.root else facts.bounding) >> bit & 1]  # fmt: skip
    if missing:
        return (
            f"this is a container without rights ({' and '.join(missing)} missing)",
            "start it privileged (docker run --privileged), or use a virtual machine",
        )
    if facts.mounts is False:
        return (
            "this is a container in which nothing can be mounted",
            "start it privileged (docker run --privileged), or use a virtual machine",
        )
    if not facts.root and not facts.sudo:
        return "a lab needs root, and there is no sudo", "run this as root, or install sudo and be allowed to use it"
    return None


def main() -> int:
    """Say why not, in two lines, and return 1; or return 0 in silence."""
    reason = unfit(look())
    if reason:
        print(f"error: no local cloud here: {reason[0]}\n next: {reason[1]}", file=sys.stderr)
        return 1
    return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _set(status: str, name: str) -> int:
    words = [line.split()[1] for line in status.splitlines() if line.startswith(name + ":")]
    return int(words[0], 16) if words else 0


def _can_mount() -> bool:
    """Try it, in a namespace that ends with the trial. Without unshare(1) nothing is known: then it may be."""
    words = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        # not console.run: this must run where the project's Python does not
        return subprocess.run(words, capture_output=True, check=False, timeout=20).returncode == 0
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    sys.exit(main())
