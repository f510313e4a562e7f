"""Which revision of the project, and which master secret, a machine was last completely deployed from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bastide.console import run
from bastide.errors import CommandFailed
from bastide.secrets import Keyring
from deploys.operations.files import File

_PROJECT = Path(__file__).resolve().parent.parent.parent


def revision_file() -> File:
    """`/etc/bastide/revision`: the git commit, with "+changes" when files that are tracked were edited since.

    It holds no time, so that it changes only when the revision does; the file's own time says when that was.
    """
    return File("/etc/bastide/revision", f"{_revision()}\n")


def keyring_file(keyring: Keyring) -> File:
    """`/etc/bastide/keyring`: the version of the master ("v2") that the machine's secrets were last derived from.

    Written last, so that `python -m hosts rekey --finish` knows that nothing uses an older one any more.
    """
    return File("/etc/bastide/keyring", f"{keyring.newest}\n")


def record_files(keyring: Keyring, *, whole: bool = True) -> tuple[File, ...]:
    """What a machine says of a complete deploy. `whole`: whether nothing on it uses an older master any more."""
    return (revision_file(), keyring_file(keyring)) if whole else (revision_file(),)


@cache
def _revision() -> str:
    try:
        commit = run(["git", "rev-parse", "HEAD"], cwd=_PROJECT, timeout=10).stdout.strip()
        edited = run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=_PROJECT, timeout=10).stdout.strip()
    except CommandFailed:
        return "unknown"
    return f"{commit}+changes" if edited else commit
