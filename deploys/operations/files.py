"""Files that are written whole or not at all, together with the command that makes them effective."""

from __future__ import annotations

import base64
import difflib
import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import SecretStr
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation

from deploys import remote
from deploys.facts.machine import Answer, Question, ask, forget, this_host

_shown: WeakKeyDictionary[Host, set[File]] = WeakKeyDictionary()  # operations run in prepare and again in execute
Commands = Generator[PyinfraCommand | str, None, None]


@dataclass(frozen=True)
class File:
    """A file as it shall be. `content=None`: it shall not exist. `check`: a command that gets the new file's path and
    must end with 0 before the file is put in place. A `SecretStr` is never shown, not even by `--diff`."""

    path: str
    content: str | SecretStr | None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    check: str = ""

    def to_json(self) -> dict[str, Any]:
        """What pyinfra may print of it: never the content."""
        return {"path": self.path, "mode": oct(self.mode), "owner": self.owner, "group": self.group}

    def __repr__(self) -> str:
        return f"File({self.path})"


@operation()
def files(name_: str, wanted: tuple[File, ...], settle: str = "") -> Commands:
    """Write files, and run `settle` when any of them changed.

    + name_: one word for the set; marks it on the machine until it has settled
    + wanted: the files; all are compared in one round trip and written in one
    + settle: a shell line that makes the files at hand effective; must be safe to run twice

    A run that is killed between writing and settling leaves a mark, and the next run settles.
    """
    yield from _write(this_host(), name_, wanted, settle)


@operation()
def secret_file(
    path: str, content: SecretStr, mode: int = 0o600, owner: str = "root", group: str = "root", settle: str = ""
) -> Commands:
    """Write a secret: never in a diff, a log or argv, and readable by nobody but its owner at any moment.

    + path, mode, owner, group: the file
    + content: the secret; goes over standard input, and only its digest is compared
    + settle: a shell line that makes the new secret effective; must be safe to run twice
    """
    name = "secret-" + hashlib.sha256(path.encode()).hexdigest()[:12]
    yield from _write(this_host(), name, (File(path, content, mode, owner, group),), settle)


def files_question(wanted: tuple[File, ...]) -> Question:
    """What the operations on files ask."""
    return {"files": sorted(file.path for file in wanted)}


def differing(host: Host, wanted: tuple[File, ...], seen: Answer) -> list[File]:
    """Those of the wanted files that are not on the machine as wanted; shows differences when asked with `--diff`."""
    changed = [file for file in wanted if not _same(file, seen["files"][file.path])]
    if changed and host.state.config.DIFF:
        _show(host, changed)
    return changed


def plan(name: str, wanted: tuple[File, ...], settle: str) -> dict[str, Any]:
    """What `deploys/remote/change.py` is told."""
    return {
        "name": name,
        "settle": settle,
        "files": [
            {
                "path": file.path,
                "content": None if file.content is None else base64.b64encode(_bytes(file)).decode(),
                "mode": file.mode,
                "owner": file.owner,
                "group": file.group,
                "check": file.check,
            }
            for file in wanted
        ],
    }


def _write(host: Host, name: str, wanted: tuple[File, ...], settle: str) -> Commands:
    seen = ask(host, **files_question(wanted))
    changed = differing(host, wanted, seen)
    if not changed and name not in seen["left"]["pending"]:
        host.noop(f"{name}: all files are as wanted")
        return
    try:
        yield remote.command("change", "apply", plan(name, tuple(changed), settle))
    finally:
        forget(host)


def _same(file: File, seen: dict[str, Any] | None) -> bool:
    if file.content is None or seen is None:
        return file.content is None and seen is None
    there = (seen["sha256"], seen["mode"], seen["owner"], seen["group"])
    return there == (hashlib.sha256(_bytes(file)).hexdigest(), file.mode, file.owner, file.group)


def _bytes(file: File) -> bytes:
    text = file.content.get_secret_value() if isinstance(file.content, SecretStr) else file.content or ""
    return text.encode()


def _show(host: Host, changed: list[File]) -> None:
    shown = _shown.setdefault(host, set())
    plain = [file for file in changed if not isinstance(file.content, SecretStr) and file not in shown]
    if not plain:
        return
    shown |= set(plain)
    old = ask(host, contents=[file.path for file in plain])["contents"]
    for file in plain:
        new = str(file.content or "")
        for line in difflib.unified_diff(
            old.get(file.path, "").splitlines(), new.splitlines(), file.path, file.path, lineterm="", n=1
        ):
            host.log(f"  {line}")
