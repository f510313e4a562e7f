"""Runs on a machine as root: would a security update of each installed package be installed by itself?

An archive is planted that calls itself Debian's for security and has a newer version of every installed package: in a
folder of its own, beside copies of the machine's own lists, so that nothing of the machine's is changed. Then
unattended-upgrades' own code is asked what it would take, with the machine's pins, holds, lists and days.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SUFFIX = "+planted1"
_KEPT = (
    "Package", "Architecture", "Multi-Arch", "Essential", "Priority", "Section", "Source", "Pre-Depends", "Depends",
    "Breaks", "Conflicts", "Replaces", "Provides",
)  # fmt: skip
_EXACT = re.compile(r"([a-z0-9][a-z0-9+.-]+)(:[a-z0-9]+)? \(= ([^)]+)\)")


def planted(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: program (unattended-upgrades'), codename and suite (the archive's), whole (a package whose upgrade is
    worked out with all that it needs).

    Returns how many packages are `installed`, why each is `left` that would not be upgraded, and on which `days` of the
    week nothing would (0 is Sunday).
    """
    with tempfile.TemporaryDirectory(prefix="bastide-planted-") as folder:
        here = Path(folder)
        here.chmod(0o755)
        _archive(here / "archive", plan)
        _lists(here)
        return _asked(here, plan["program"], plan["whole"])


def _archive(folder: Path, plan: dict[str, Any]) -> None:
    import apt_pkg  # type: ignore[import-not-found,unused-ignore]  # on machines only

    folder.mkdir()
    with apt_pkg.TagFile("/var/lib/dpkg/status") as file:
        records = [{key: record[key] for key in record.keys()} for record in file]  # noqa: SIM118 - no Mapping
    there = [one for one in records if one.get("Status", "").endswith(" ok installed")]
    versions = {one["Package"]: one["Version"] for one in there}
    text = "\n".join(_entry(one, versions) for one in there)
    (folder / "Packages").write_text(text, encoding="utf-8")
    digest, size = hashlib.sha256(text.encode()).hexdigest(), len(text.encode())
    date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime())
    (folder / "Release").write_text(
        f"Origin: Debian\nLabel: Debian-Security\nSuite: {plan['suite']}\nCodename: {plan['codename']}\n"
        f"Date: {date}\nSHA256:\n {digest} {size} Packages\n",
        encoding="utf-8",
    )


def _entry(record: dict[str, str], versions: dict[str, str]) -> str:
    """A newer version of a package, and of what must have the same one."""

    def newer(found: re.Match[str]) -> str:
        name, kind, version = found[1], found[2] or "", found[3]
        return f"{name}{kind} (= {version}{_SUFFIX if versions.get(name) == version else ''})"

    lines = [f"{key}: {_EXACT.sub(newer, record[key])}" for key in _KEPT if key in record]
    digest = hashlib.sha256(record["Package"].encode()).hexdigest()
    lines += [f"Version: {record['Version']}{_SUFFIX}", "Maintainer: nobody <nobody@localhost>", "Description: newer"]
    lines += [f"Filename: {record['Package']}.deb", "Size: 1", f"SHA256: {digest}"]
    return "\n".join(lines) + "\n"


def _lists(here: Path) -> None:
    """Folders for apt: the machine's own sources and lists as links, and the planted ones."""
    parts, lists = here / "parts", here / "lists"
    (lists / "partial").mkdir(parents=True)
    parts.mkdir()
    for own, target in ((Path("/etc/apt/sources.list.d"), parts), (Path("/var/lib/apt/lists"), lists)):
        for path in own.iterdir() if own.is_dir() else ():
            if path.is_file() and path.name != "lock":
                (target / path.name).symlink_to(path)
    source = here / "planted.list"
    source.write_text(f"deb [trusted=yes] file:{here}/archive ./\n", encoding="utf-8")
    words = [
        "apt-get",
        "-qq",
        "update",
        "-o",
        f"Dir::Etc::sourcelist={source}",
        "-o",
        "Dir::Etc::sourceparts=/dev/null",
    ]
    words += ["-o", f"Dir::State::lists={lists}", "-o", "APT::Get::List-Cleanup=0", "-o", "APT::Sandbox::User=root"]
    subprocess.run([*words, *_private(here)], check=True, capture_output=True)
    source.rename(parts / source.name)


def _private(here: Path) -> list[str]:
    """No hook of the machine's runs, and no cache of its own is written anew."""
    config = here / "private.conf"
    hooks = "".join(f"#clear APT::Update::{when};\n" for when in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"))
    config.write_text(f'{hooks}Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n', encoding="utf-8")
    return ["-c", str(config)]


def _asked(here: Path, program: str, whole: str) -> dict[str, Any]:
    import apt_pkg

    apt_pkg.init()
    for key, value in (
        ("Dir::State::lists", f"{here}/lists"),
        ("Dir::Etc::sourceparts", f"{here}/parts"),
        ("Dir::Cache::pkgcache", ""),
        ("Dir::Cache::srcpkgcache", ""),
    ):
        apt_pkg.config.set(key, value)
    module = _loaded(program)
    cache = module.UnattendedUpgradesCache(rootdir="/")
    newer = [one for one in cache if one.is_installed and any(v.version.endswith(_SUFFIX) for v in one.versions)]
    left = {one.name: why for one in newer if (why := _why(module, cache, one))}
    # one goes the whole way; all of them would take the program a minute
    for one in (one for one in newer if one.name == whole and whole not in left):
        taken: list[Any] = []
        module.try_to_upgrade(one, taken, cache)
        if one not in taken:
            left[one.name] = "kept back"
    return {
        "installed": len(newer),
        "left": left,
        "days": _days(apt_pkg.config.value_list("Unattended-Upgrade::Update-Days")),
    }


def _why(module: Any, cache: Any, package: Any) -> str:
    """Why it would not be upgraded, by the same questions that unattended-upgrades asks; "" when it would."""
    import apt_pkg

    if package._pkg.selected_state == apt_pkg.SELSTATE_HOLD:
        return "held"
    cache.adjust_candidate(package)
    if module.is_pkgname_in_blacklist(package.name, cache.blacklist):
        return "left out by name"
    if cache.whitelist and not module.is_pkgname_in_whitelist(package.name, cache.whitelist):
        return "not among the names that are taken alone"
    offered = [version for version in package.versions if version.version.endswith(_SUFFIX)]
    if not module.is_in_allowed_origin(offered[0], cache.allowed_origins):
        return "from an archive that is not taken from"
    chosen = package.candidate.version if package.candidate else "nothing"
    if not chosen.endswith(_SUFFIX):
        return f"pinned: apt prefers {chosen}"
    may = module.is_pkg_change_allowed(package, cache.blacklist, cache.whitelist, cache.strict_whitelist)
    return "" if may else "not allowed"


def _days(wanted: list[str]) -> list[int]:
    """unattended-upgrades(8) takes names, short names and numbers."""
    week = [datetime.date(2024, 1, 7) + datetime.timedelta(days=number) for number in range(7)]
    said = [{day.strftime(word) for word in ("%a", "%A", "%w")} for day in week]
    return [number for number in range(7) if wanted and not said[number] & set(wanted)]


def _loaded(program: str) -> Any:
    loader = importlib.machinery.SourceFileLoader("unattended_upgrade", program)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


if __name__ == "__main__":
    print(json.dumps(planted(json.loads(sys.argv[1]))))
