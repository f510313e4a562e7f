"""Runs on a machine as root: which packages no archive has, and what bends how others are installed.

Standard library and Debian's python3-apt. It changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# apt.conf(5): programs that run before and after, what does the work, and how it is told to
_BENDS = re.compile(
    r"(?i)(dpkg::(pre-invoke|post-invoke|pre-install-pkgs|path|chroot-directory|options)"
    r"|apt::update::(pre|post)-invoke\S*|dir::bin::dpkg|dir::(cache|etc|state)\S*)(::|$)|dir$"
)
# as Debian's installer and ours have them: of a configuration that somebody changed, both versions stay (dpkg(1))
_OPTIONS = {"--force-confdef", "--force-confold"}
# dpkg(1): what is in these is no program
_TEXTS = re.compile(r"path-(exclude|include)[= ]\"?/usr/share/(doc|man|info|locale|lintian|linda|groff)(/|$)")


def installs() -> dict[str, list[str]]:
    """Returns `foreign` (installed packages of which no archive has this version or a newer one), `told` (settings of
    apt and dpkg, by file, that bend what is installed and that no package brought), `diverted` (files in the place of
    which a package's would be put aside, by nobody's package)."""
    import apt_pkg  # type: ignore[import-not-found,unused-ignore]  # on machines only

    apt_pkg.init()
    return {"foreign": sorted(_foreign(apt_pkg)), "told": [*_apt(apt_pkg), *_dpkg()], "diverted": sorted(_diverted())}


def _foreign(apt_pkg: Any) -> Iterator[str]:
    for package in apt_pkg.Cache(None).packages:
        installed = package.current_ver
        if not installed:
            continue
        known = [v for v in package.version_list if any(not source.not_source for source, _ in v.file_list)]
        if not any(apt_pkg.version_compare(v.ver_str, installed.ver_str) >= 0 for v in known):
            yield f"{package.name} {installed.ver_str}"


def _apt(apt_pkg: Any) -> Iterator[str]:
    pristine = _pristine()
    for path in (Path("/etc/apt/apt.conf"), *sorted(Path("/etc/apt/apt.conf.d").glob("*"))):
        if not path.is_file() or str(path) in pristine:
            continue
        told = apt_pkg.Configuration()
        apt_pkg.read_config_file(told, str(path))
        for key, value in re.findall(r'^(\S+) "(.*)";$', told.dump(), re.MULTILINE):
            if value and _BENDS.match(key) and value not in _OPTIONS:
                yield f"{path}: {key.rstrip(':')} {value}"


def _dpkg() -> Iterator[str]:
    pristine = _pristine()
    for path in (Path("/etc/dpkg/dpkg.cfg"), *sorted(Path("/etc/dpkg/dpkg.cfg.d").glob("*"))):
        if not path.is_file() or str(path) in pristine:
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            word = line.strip()
            if word and not re.match(r"#|no-debsig$|log[= ]", word) and not _TEXTS.match(word):
                yield f"{path}: {word}"


def _diverted() -> Iterator[str]:
    # dpkg-divert(1): three lines a diversion, the last one who made it, ":" for a person
    lines = Path("/var/lib/dpkg/diversions").read_text(encoding="utf-8").splitlines()
    yield from (path for path, who in zip(lines[::3], lines[2::3], strict=False) if who == ":")


def _pristine() -> set[str]:
    """Files of configuration that are as their package brought them."""
    words = ("dpkg-query", "-W", "-f", "${Conffiles}\n")
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = set()
    for path, digest in re.findall(r"^ (/etc/(?:apt|dpkg)/\S+) ([0-9a-f]{32})", told, re.MULTILINE):
        file = Path(path)
        if file.is_file() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() == digest:
            found.add(path)
    return found


if __name__ == "__main__":
    print(json.dumps(installs()))
