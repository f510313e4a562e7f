"""A signed package archive: a real apt repository over HTTP with one package, of which the lab says the version.

The archive's signing key is made once for each lab and stays with its operator (root's own folder): the program that
serves the files cannot read it, and the files themselves it can read and not change. A release is a folder of its own,
and becomes the current one in one step.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bastide.console import run
from bastide.errors import LabError
from lab.machines.spawn import PATH
from lab.place import Place
from lab.registry import locked
from lab.services import service
from lab.services.service import ARCHIVE, Service

SERVICE = Service("archive", ARCHIVE, (("tcp", 80),))
PACKAGE = "lab-canary"
VERSIONS = ("1.0", "1.1")
SUITE, COMPONENT = "canary", "main"
_ARCHITECTURES = ("amd64", "arm64")
_AGENT_SECONDS = 5.0
Signer = Literal["archive", "stranger", "nobody"]


def ensure(here: Place, *, restart: bool) -> bool:
    """Serve the archive; the first time with the oldest version. Returns whether it was started. Waits for it."""
    public = SERVICE.settings(here) / "public"
    if not public.exists():
        publish(here, VERSIONS[0])
    python = shutil.which("python3", path=PATH)
    if python is None:
        raise LabError("there is no python3 outside of the project's .venv", "sudo apt-get install python3")
    argv = [python, "-I", "-m", "http.server", "--bind", SERVICE.address(here), "--directory", str(public), "80"]
    started = service.ensure(here, SERVICE, argv, restart=restart)
    service.wait(here, SERVICE)
    return started


def describe(here: Place) -> dict[str, Any]:
    """What a machine must know to use it."""
    return {
        "url": f"http://{SERVICE.address(here)}/debian",
        "suite": SUITE,
        "component": COMPONENT,
        "package": PACKAGE,
        "key": _public_key(_key_folder(here, "archive")),
    }


def publish(here: Place, version: str, signer: Signer = "archive") -> None:
    """Make `version` the one that the archive offers. `signer`: whose signature the release carries.

    Raises `LabError` for a version that there is not.
    """
    if version not in VERSIONS:
        raise LabError(f"the archive has no version {version}", f"there are {' and '.join(VERSIONS)}")
    service.prepare(here, SERVICE)
    folder = SERVICE.settings(here)
    with locked(here.folder / ".archive.lock"):
        public = folder / "public"
        old = public.resolve() if public.exists() else None
        number = int(old.name.rpartition("-")[2]) + 1 if old else 1
        fresh = folder / f"release-{number}"
        shutil.rmtree(fresh, ignore_errors=True)  # of a run that was killed
        _lay_out(fresh / "debian", version)
        _sign(here, fresh / "debian/dists" / SUITE, signer)
        _date(fresh, old)
        for path in (fresh, *fresh.rglob("*")):
            service.lend(path)
        link = folder / "public.new"
        link.unlink(missing_ok=True)
        link.symlink_to(fresh.name)
        link.replace(public)
        if old:
            shutil.rmtree(old)


def _lay_out(root: Path, version: str) -> None:
    """The package, its index and the release that vouches for it (wiki.debian.org/DebianRepository/Format)."""
    pool = root / "pool"
    pool.mkdir(parents=True)
    package = pool / f"{PACKAGE}_{version}_all.deb"
    control = _build(package, version)
    content = package.read_bytes()
    index = f"{control}Filename: pool/{package.name}\nSize: {len(content)}\nSHA256: {_sha256(content)}\n\n".encode()
    suite = root / "dists" / SUITE
    lines = [
        "Origin: lab",
        "Label: lab",
        f"Suite: {SUITE}",
        f"Codename: {SUITE}",
        f"Date: {datetime.now(UTC):%a, %d %b %Y %H:%M:%S} UTC",
        f"Architectures: {' '.join(_ARCHITECTURES)}",
        f"Components: {COMPONENT}",
        "SHA256:",
    ]
    for architecture in _ARCHITECTURES:
        name = f"{COMPONENT}/binary-{architecture}/Packages"
        (suite / name).parent.mkdir(parents=True)
        (suite / name).write_bytes(index)
        lines.append(f" {_sha256(index)} {len(index)} {name}")
    (suite / "Release").write_text("\n".join(lines) + "\n")


def _build(path: Path, version: str) -> str:
    """Make the package at `path`. Returns its control fields."""
    control = (
        f"Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\nMaintainer: the lab <lab@localhost>\n"
        "Description: says which version of it is installed\n"
    )
    work = path.with_suffix(".work")
    (work / "DEBIAN").mkdir(parents=True)
    (work / "DEBIAN/control").write_text(control)
    says = work / f"usr/share/{PACKAGE}/version"
    says.parent.mkdir(parents=True)
    says.write_text(f"{version}\n")
    # whatever the caller's umask is: they are the modes on the machines, and dpkg-deb refuses others
    for part in work.rglob("*"):
        part.chmod(0o755 if part.is_dir() else 0o644)
    run(["dpkg-deb", "--root-owner-group", "--build", work, path])
    shutil.rmtree(work)
    return control


def _sign(here: Place, suite: Path, signer: Signer) -> None:
    if signer == "nobody":
        return
    folder = _key_folder(here, signer)
    _ensure_key(folder)
    try:
        _gpg(
            folder,
            "--digest-algo",
            "SHA512",
            "--output",
            str(suite / "InRelease"),
            "--clearsign",
            str(suite / "Release"),
        )
    finally:
        _end_agent(folder)


def _date(fresh: Path, old: Path | None) -> None:
    """Each release is at least a second younger than the one before: HTTP knows whole seconds only, and apt asks
    for what has changed since."""
    before = max((path.stat().st_mtime for path in old.rglob("*")), default=0.0) if old else 0.0
    at = max(datetime.now(UTC).timestamp(), before + 1)
    for path in fresh.rglob("*"):
        os.utime(path, (at, at))


def _key_folder(here: Place, signer: Signer) -> Path:
    return here.folder / "archive-keys" / signer


def _public_key(folder: Path) -> str:
    _ensure_key(folder)
    return (folder / "public.asc").read_text()


def _ensure_key(folder: Path) -> None:
    if (folder / "public.asc").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _gpg(folder, "--passphrase", "", "--quick-generate-key", f"lab {folder.name}", "ed25519", "sign", "never")
        _gpg(folder, "--armor", "--output", str(folder / "public.new"), "--export")
    finally:
        _end_agent(folder)
    (folder / "public.new").replace(folder / "public.asc")


def _gpg(folder: Path, *words: str) -> None:
    run(["gpg", "--homedir", folder, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", *words])


def _end_agent(folder: Path) -> None:
    """gpg leaves a program behind that holds the key. Waits for its end: the next gpg must not speak to a dying one."""
    told = run(["gpgconf", "--homedir", folder, "--list-dirs", "agent-socket"], check=False).stdout.strip()
    run(["gpgconf", "--homedir", folder, "--kill", "gpg-agent"], check=False)
    deadline = time.monotonic() + _AGENT_SECONDS
    while told and Path(told).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
