"""Object storage: a real MinIO server with TLS, its data kept for as long as the lab is.

TLS because the provider's storage has nothing else. The certificate is signed by itself and is what its users trust;
like the data it is made once for each lab.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bastide.errors import LabError
from lab import registry
from lab.place import Place
from lab.services import service
from lab.services.certificate import make_certificate
from lab.services.service import STORAGE, Service

SERVICE = Service("storage", STORAGE, (("tcp", 443),))
# MinIO takes 3 to 20 characters for the first and at least 8 for the second (its own manual)
_ACCESS_KEY = re.compile(r"[A-Za-z0-9]{3,20}")
_SECRET_KEY = re.compile(r"[!-~]{8,128}")


@dataclass(frozen=True)
class Wanted:
    """What the operator asks for: the server's program and the pair of keys that opens all of it."""

    program: Path
    access_key: str
    secret_key: str


def check(wanted: Wanted) -> None:
    """Raise `LabError` when it cannot be started like that; nothing is touched."""
    if not os.access(wanted.program, os.X_OK):
        raise LabError(f"there is no object storage at {wanted.program}", "run `make setup`")
    if not _ACCESS_KEY.fullmatch(wanted.access_key) or not _SECRET_KEY.fullmatch(wanted.secret_key):
        raise LabError(
            "the object storage's keys are not 3 to 20 letters and digits, and 8 to 128 printable characters",
            "see --storage",
        )


def ensure(here: Place, wanted: Wanted, *, restart: bool) -> bool:
    """Start it when it does not run, or anew when `restart` or when its keys or program changed. Does not wait."""
    changed = _settle(here, wanted)
    address = SERVICE.address(here)
    argv: Sequence[str] = [
        *(str(_program(here)), "server", "--quiet", "--anonymous"),
        *("--certs-dir", str(_certs(here)), "--address", f"{address}:443", "data"),
    ]
    env = {
        "MINIO_ROOT_USER": wanted.access_key,
        "MINIO_ROOT_PASSWORD": wanted.secret_key,
        # no web pages, no question for updates: the provider's storage answers S3 alone
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "HOME": str(SERVICE.folder(here)),
    }
    return service.ensure(here, SERVICE, argv, env=env, restart=restart or changed)


def endpoint(here: Place) -> str:
    """Where it answers, for the operator's machine and for the lab's."""
    return f"https://{SERVICE.address(here)}"


def certificate(here: Place) -> str:
    """The certificate to trust, as PEM; public. Empty when there is none yet."""
    path = _certs(here) / "public.crt"
    return path.read_text() if path.exists() else ""


def _settle(here: Place, wanted: Wanted) -> bool:
    """Its folders, program and certificate. Returns whether a running server is now an old one."""
    service.prepare(here, SERVICE)
    address = SERVICE.address(here)
    changed = False
    # the lab may come back at other addresses, and a certificate names them
    known = registry.read_json(here.folder / "storage.json")
    if known.get("address") != address or not certificate(here):
        # MinIO wants a folder for other authorities' certificates, too, and cannot make it here
        for folder in (_certs(here), _certs(here) / "CAs"):
            folder.mkdir(mode=0o700, exist_ok=True)
            service.lend(folder)
        for name, content in make_certificate("Bastide lab object storage", [address]).items():
            service.write(_certs(here) / name, content)
        changed = True
    if known.get("program") != str(wanted.program) or not _program(here).exists():
        _place(wanted.program, _program(here))
        changed = True
    changed |= _environment_differs(SERVICE.environment(here), wanted)
    registry.write_json(here.folder / "storage.json", {"address": address, "program": str(wanted.program)})
    return changed


def _certs(here: Place) -> Path:
    return SERVICE.settings(here) / "certs"


def _program(here: Place) -> Path:
    """Beside its folder and not in it: it may run this file and not change it."""
    return SERVICE.folder(here).parent / "minio"


def _place(program: Path, target: Path) -> None:
    """A user's cache is closed to the account that it runs as, so it gets a link, or a copy on another disk."""
    draft = target.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    try:
        os.link(program.resolve(), draft)
    except OSError:
        shutil.copyfile(program, draft)
        draft.chmod(0o755)
    draft.replace(target)


def _environment_differs(environment: Path, wanted: Wanted) -> bool:
    try:
        text = environment.read_text()
    except OSError:
        return False
    return f"='{wanted.access_key}'\n" not in text or service.quoted(wanted.secret_key) not in text
