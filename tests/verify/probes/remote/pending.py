"""Runs on a machine as root: what waits for an update or a reboot, and since when by the machine's own memory.

Standard library and Debian's python3-apt. It changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def pending(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: memory (the file with what was seen waiting before, and when), archives ([site, suite] pairs that count
    beside Debian's security archive), by_turns (services that take up their own updates, without a reboot).

    Returns `now` and `looked` (seconds since the epoch; None where nothing is remembered), `packages` by name and
    `reboot` by kind, each with `since`: now for what nobody has seen before.
    """
    now, memory = time.time(), _memory(Path(plan["memory"]))
    packages = {
        name: {"installed": installed, "since": memory.get("packages", {}).get(name, now)}
        for name, installed in _outdated({(site, suite) for site, suite in plan["archives"]})
    }
    waits = (("asked", _asked_for()), ("kernel", _older_kernel()), ("stale", _replaced_code(plan["by_turns"])))
    reboot = {kind: {"why": why, "since": memory.get("reboot", {}).get(kind, now)} for kind, why in waits if why}
    return {"now": now, "looked": memory.get("looked"), "packages": packages, "reboot": reboot}


def _memory(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _outdated(archives: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Installed packages, with their version, that have a newer one in an archive that counts.

    All versions are compared rather than apt's candidates, which holds and pins have a say in.
    """
    import apt_pkg  # type: ignore[import-not-found,unused-ignore]  # on machines only

    apt_pkg.init()
    for package in apt_pkg.Cache(None).packages:
        installed = package.current_ver
        if not installed:
            continue
        newer = (v for v in package.version_list if apt_pkg.version_compare(v.ver_str, installed.ver_str) > 0)
        sources = [source for version in newer for source, _ in version.file_list]
        # what Debian's security archive calls itself in its Release file; another one by where it is, and its suite
        debians = any((source.origin, source.label) == ("Debian", "Debian-Security") for source in sources)
        if debians or archives & {(s.site, name) for s in sources for name in (s.archive, s.codename)}:
            yield package.name, installed.ver_str


def _asked_for() -> str:
    """Debian's word for it: packages leave these two files (unattended-upgrades(8), "Automatic-Reboot")."""
    if not Path("/run/reboot-required").exists():
        return ""
    names = Path("/run/reboot-required.pkgs")
    packages = sorted(set(names.read_text(encoding="utf-8").split())) if names.exists() else []
    return f"a package asked for it ({', '.join(packages)})" if packages else "a package asked for it"


def _older_kernel() -> str:
    """A kernel lies in /boot that is newer than the running one; a container runs its host's."""
    if subprocess.run(("systemd-detect-virt", "-q", "--container"), check=False).returncode == 0:
        return ""

    # deb-version(7): dpkg says which of two is the newer one
    for release in sorted(file.name.partition("-")[2] for file in Path("/boot").glob("vmlinuz-*")):
        words = ("dpkg", "--compare-versions", release, "gt", os.uname().release)
        if subprocess.run(words, check=False).returncode == 0:
            return f"the kernel {release} is installed and does not run"
    return ""


def _replaced_code(by_turns: list[str]) -> str:
    """Processes that run code from files which are there no more, as proc_pid_maps(5) shows it."""
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text(encoding="utf-8", errors="replace")
            # address, permissions, offset, device, inode, path
            if re.search(r"^\S+ ..x\S+ \S+ \S+ \S+ +/(usr/|lib).* \(deleted\)$", maps, re.MULTILINE):
                # proc_pid_cgroup(5)
                unit = (process / "cgroup").read_text(encoding="utf-8").strip().rpartition("/")[2]
                if unit.removesuffix(".service") in by_turns:
                    continue
                names.add((process / "comm").read_text(encoding="utf-8").strip())
        except OSError:
            continue  # it has ended
    return f"replaced code still runs in {', '.join(sorted(names))}" if names else ""


if __name__ == "__main__":
    print(json.dumps(pending(json.loads(sys.argv[1]))))
