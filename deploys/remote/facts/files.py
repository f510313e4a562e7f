"""Runs on the machine: files and folders."""

from __future__ import annotations

import grp
import hashlib
import pwd
from pathlib import Path

from deploys.remote.facts.common import at, entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.files import FileState


def files(paths: list[str]) -> dict[str, FileState | None]:
    """Digest, mode and owner of each file; `None` for what does not exist."""
    return {path: _state(at(path)) for path in paths}


def modes(paths: list[str]) -> dict[str, str]:
    """Mode, owner and group of each file or folder ("0640 root adm"); "" for what does not exist."""
    found = {}
    for path in paths:
        try:
            info = at(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            found[path] = ""
        else:
            found[path] = f"{info.st_mode & 0o7777:04o} {_user(info.st_uid)} {_group(info.st_gid)}"
    return found


def contents(paths: list[str]) -> dict[str, str]:
    """The text of each file that exists, to show a difference; never asked for secret files."""
    return {path: at(path).read_text(errors="replace") for path in paths if at(path).is_file()}


def folders(paths: list[str]) -> dict[str, list[str]]:
    """The names in each folder; none where there is no folder."""
    return {path: [entry.name for entry in entries(path)] for path in paths}


def _state(path: Path) -> FileState | None:
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    plain = path.is_file() and not path.is_symlink()
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if plain else "",
        "mode": info.st_mode & 0o7777,
        "owner": _user(info.st_uid),
        "group": _group(info.st_gid),
    }


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
