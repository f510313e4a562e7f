"""A sink: takes mail by SMTP with TLS and a password, and calls of a webhook and of a dead man's switch; keeps them.

Nothing leaves it. What came is asked for at the lab's admin API (/_lab/messages), and so are its faults.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import ssl
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from bastide.errors import LabError
from lab import admin_token, registry
from lab.machines.spawn import PATH
from lab.place import Place
from lab.services import service
from lab.services.certificate import CERTIFICATE, KEY, make_certificate
from lab.services.service import SINK, Service

SERVICE = Service("sink", SINK, (("tcp", 443), ("tcp", 587), ("tcp", 465)))
_PROGRAM = Path(__file__).with_name("sink_server.py")
_WORD = re.compile(r"[!-~]{8,128}")
_SECONDS = 10


@dataclass(frozen=True)
class Wanted:
    """What the operator asks for: who may send mail, and the last words of the URLs /hook/WORD and /beat/WORD."""

    user: str
    password: str
    hook: str
    beat: str


def check(wanted: Wanted) -> None:
    """Raise `LabError` when it cannot be started like that; nothing is touched."""
    if not all(_WORD.fullmatch(word) and "/" not in word for word in astuple(wanted)[1:]):
        raise LabError("the sink's words are not 8 to 128 printable characters without a slash", "see --sink")


def ensure(here: Place, wanted: Wanted, *, restart: bool) -> bool:
    """Start it when it does not run, or anew when `restart` or when anything of it changed. Does not wait."""
    python = shutil.which("python3", path=PATH)
    if python is None:
        raise LabError("there is no python3 outside of the project's .venv", "sudo apt-get install python3")
    changed = _settle(here, wanted)
    folder, address = SERVICE.settings(here), SERVICE.address(here)
    # it has no rights, and a user's .venv may be closed to it: a program of the standard library alone
    argv = [python, "-I", str(folder / _PROGRAM.name), address, str(folder / CERTIFICATE), str(folder / KEY)]
    names = ("SINK_USER", "SINK_PASSWORD", "SINK_HOOK", "SINK_BEAT")
    env = {**dict(zip(names, astuple(wanted), strict=True)), "SINK_TOKEN": _token(here)}
    return service.ensure(here, SERVICE, argv, env=env, restart=restart or changed)


def certificate(here: Place) -> str:
    """The certificate to trust, as PEM; public. Empty when there is none yet."""
    path = SERVICE.settings(here) / CERTIFICATE
    return path.read_text() if path.exists() else ""


def ask(here: Place, method: str, body: object) -> dict[str, Any]:
    """GET what came, POST faults, or DELETE both. Raises `LabError` when it does not answer, or does not take it."""
    trusted = ssl.create_default_context(cadata=certificate(here))
    connection = http.client.HTTPSConnection(SERVICE.address(here), timeout=_SECONDS, context=trusted)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, "/messages", data, {"Authorization": f"Bearer {_token(here)}"})
        answer = connection.getresponse()
        said: dict[str, Any] = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise LabError(f"the lab's sink does not answer: {error}", "python -m lab status") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise LabError(str(said.get("error", answer.status)), "see docs/reference/admin-api.md")
    return said


def _settle(here: Place, wanted: Wanted) -> bool:
    """Its program and certificate. Returns whether a running sink is now an old one."""
    service.prepare(here, SERVICE)
    folder, address = SERVICE.settings(here), SERVICE.address(here)
    program = _PROGRAM.read_text(encoding="utf-8")
    words = hashlib.sha256("\0".join(astuple(wanted)).encode()).hexdigest()
    known = registry.read_json(here.folder / "sink.json")
    now = {"address": address, "words": words, "program": hashlib.sha256(program.encode()).hexdigest()}
    if known.get("address") != address or not certificate(here):
        for name, content in make_certificate("Bastide lab sink", [address]).items():
            service.write(folder / name, content)
    service.write(folder / _PROGRAM.name, program)
    registry.write_json(here.folder / "sink.json", now)
    return known != now


def _token(here: Place) -> str:
    """Lets the lab's daemon in; made from the admin API's, which it does not give away."""
    return hashlib.sha256(f"sink {admin_token.token(here)}".encode()).hexdigest()
