"""Files that are written whole or not at all, together with the command that makes them effective."""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import SecretStr
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation

from deploys import remote
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.changes import UNFINISHED
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import CONTENTS, FILES, FileState

_shown: WeakKeyDictionary[Host, set[File]] = WeakKeyDictionary()  # operations run in prepare and again in execute
_ALL_READ = 0o004
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
def files(name_: str, wanted: tuple[File, ...], settle: str = "", drift: str = "", unit: str = "") -> Commands:
    """Write files, and run `settle` when any of them changed.

    + name_: one word for the set; marks it on the machine until it has settled
    + wanted: the files; all are compared in one round trip and written in one
    + settle: a shell line that makes the files at hand effective; must be safe to run twice
    + drift: why to settle although the files are as wanted; "" when there is no reason
    + unit: what must work with them: when it does not settle they are taken back, and what it was refused is said

    A run that is killed between writing and settling leaves a mark, and the next run settles.
    """
    yield from _write(this_host(), name_, wanted, settle, drift, unit)


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


def files_request(wanted: tuple[File, ...]) -> FactRequest:
    """What the operations on files ask."""
    return merged(FILES.request(sorted(file.path for file in wanted)), UNFINISHED.request(None))


def differing(host: Host, wanted: tuple[File, ...], facts: Facts) -> list[File]:
    """Those of the wanted files that are not on the machine as wanted.

    Shows differences when asked with `--diff`; with `--data differences=FILE` it adds them there, a line of JSON each
    (`make plan` reads them).
    """
    changed = [file for file in wanted if not as_wanted(file, facts[FILES][file.path])]
    if changed and (host.state.config.DIFF or host.data.get("differences")):
        _show(host, changed, facts)
    return changed


def as_wanted(file: File, seen: FileState | None) -> bool:
    """Whether a file is on the machine as wanted."""
    if file.content is None or seen is None:
        return file.content is None and seen is None
    there = (seen["sha256"], seen["mode"], seen["owner"], seen["group"])
    return there == (hashlib.sha256(_bytes(file)).hexdigest(), file.mode, file.owner, file.group)


def plan(
    name: str, wanted: tuple[File, ...], settle: str, kept: tuple[str, ...] = (), unit: str = ""
) -> dict[str, Any]:
    """What `deploys/remote/change.py` is told."""
    return {
        "name": name,
        "settle": settle,
        "kept": kept,
        "unit": unit,
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


def _write(host: Host, name: str, wanted: tuple[File, ...], settle: str, drift: str = "", unit: str = "") -> Commands:
    facts = ask(host, files_request(wanted))
    changed = differing(host, wanted, facts)
    if not changed and not drift and name not in facts[UNFINISHED]["pending"]:
        host.noop(f"{name}: all files are as wanted")
        return
    if drift and not changed:
        host.log(f"{name}: {drift}")
    try:
        yield remote.command("change", "apply", plan(name, tuple(changed), settle, unit=unit))
    finally:
        forget(host)


def _bytes(file: File) -> bytes:
    text = file.content.get_secret_value() if isinstance(file.content, SecretStr) else file.content or ""
    return text.encode()


def _show(host: Host, changed: list[File], facts: Facts) -> None:
    shown = _shown.setdefault(host, set())
    fresh = [file for file in changed if file not in shown]
    shown |= set(fresh)
    before = {file.path: facts[FILES][file.path] for file in fresh}  # what is asked next may drop what is known
    plain = [file.path for file in fresh if not _secret(file, before[file.path])]
    old = ask(host, CONTENTS.request(plain))[CONTENTS] if plain else {}
    for file in fresh:
        secret = file.path not in plain
        new = "" if secret else str(file.content or "")
        diff = difflib.unified_diff(
            old.get(file.path, "").splitlines(), new.splitlines(), file.path, file.path, lineterm="", n=1
        )
        lines = [] if secret else list(diff)
        if host.state.config.DIFF:
            for line in lines:
                host.log(f"  {line}")
        if listed := host.data.get("differences"):
            entry = {"machine": host.name, "path": file.path, "secret": secret, "diff": lines[2:]}
            with Path(listed).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**entry, "note": _note(file, before[file.path])}) + "\n")


def _secret(file: File, before: FileState | None) -> bool:
    """Whether its text is never shown. Of what is removed nobody says what it was: its mode does."""
    if file.content is None and before is not None:
        return not before["mode"] & _ALL_READ
    return isinstance(file.content, SecretStr)


def _note(file: File, before: FileState | None) -> str:
    """How a file changes besides its content."""
    if file.content is None:
        return "removed"
    if before is None:
        return "new"
    was, will = ((f"{mode:04o}", owner, group) for mode, owner, group in (
        (before["mode"], before["owner"], before["group"]), (file.mode, file.owner, file.group)))  # fmt: skip
    return "" if was == will else f"{' '.join(was)} becomes {' '.join(will)}"
