"""NSD as a program: fetched from this host's own distribution, unpacked and not installed (a package would start a
service here), and placed where a service's user may run it.
"""

from __future__ import annotations

import platform
import re
import shutil
import time
from functools import cache
from pathlib import Path

from bastide.console import run, step
from bastide.errors import CommandFailed, LabError
from lab import owner
from lab.place import Place

_PACKAGE = "nsd"
_DOWNLOAD_SECONDS = 300.0


def prepare() -> Path:
    """The folder with NSD unpacked, from the invoking user's cache; downloads it once (about half a megabyte)."""
    if shutil.which("nsd") and shutil.which("nsd-control"):
        return Path("/")
    system = platform.freedesktop_os_release()
    release = system.get("VERSION_CODENAME") or system.get("VERSION_ID", "")
    ready = owner.cache_folder() / "programs" / f"{_PACKAGE}-{system['ID']}-{release}-{platform.machine()}"
    if ready.is_dir():
        return ready
    owner.make_folders(ready.parent)
    work = ready.with_name(f".{ready.name}.{time.monotonic_ns()}")
    work.mkdir(mode=0o755)
    try:
        with step("name server: downloading NSD once"):
            # as root: apt's own user cannot write into the folder
            words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *_missing_packages()]
            run(words, cwd=work, timeout=_DOWNLOAD_SECONDS, hint="run `apt-get update`, then the same command again")
            for archive in sorted(work.glob("*.deb")):
                run(["dpkg-deb", "-x", archive, work])
                archive.unlink()
        try:
            work.rename(ready)
        except OSError:
            # another lab has unpacked the same meanwhile
            if not ready.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ready


def place(here: Place) -> Path:
    """A copy of the program where its user may run it: a cache folder in somebody's home is closed to others."""
    cached = prepare()
    if cached == Path("/"):
        return cached
    root = here.folder / "programs" / cached.name
    if not root.is_dir():
        root.parent.mkdir(exist_ok=True)
        # whatever the caller's umask is
        root.parent.chmod(0o711)
        work = root.with_name(f".{root.name}")
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(cached, work, symlinks=True)
        work.rename(root)
    return root


def words(root: Path, program: str, config: Path, *arguments: str) -> list[str]:
    """The command of one of NSD's programs, with the libraries that were unpacked beside it."""
    all_arguments = ["-c", str(config), *arguments]
    if root == Path("/"):
        return [program, *all_arguments]
    libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*")) if path.is_dir())
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(root / "usr/sbin" / program), *all_arguments]


@cache
def has_database(version_words: tuple[str, ...]) -> bool:
    """Would it keep a database on disk when it is not told otherwise? Gone in NSD 4.8.0."""
    done = run(version_words, check=False)
    found = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    return found is not None and (int(found[1]), int(found[2])) < (4, 8)


def _missing_packages() -> list[str]:
    """NSD and those of its libraries that this host lacks, by the names of their packages."""
    words = ["apt-get", "install", "--print-uris", "-qq", "-y", "--no-install-recommends", _PACKAGE]
    try:
        lines = run(words, timeout=60).stdout.splitlines()
    except CommandFailed as error:
        raise LabError(
            f"apt knows no package {_PACKAGE}, the lab's name server: {error.message}",
            "run `apt-get update`, or install nsd; then run the same command again",
        ) from error
    # a line a package: 'URI' nsd_4.6.1-1_amd64.deb 545720 MD5Sum:...
    return [line.split()[1].partition("_")[0] for line in lines if line.startswith("'")]
