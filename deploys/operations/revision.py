"""Which revision of the project a machine was last deployed from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bastide.console import run
from bastide.errors import CommandFailed
from deploys.operations.files import File

_PROJECT = Path(__file__).resolve().parent.parent.parent


def revision_file() -> File:
    """`/etc/bastide/revision`: the git commit, with "+changes" when files that are tracked were edited since.

    It holds no time, so that it changes only when the revision does; the file's own time says when that was.
    """
    return File("/etc/bastide/revision", f"{_revision()}\n")


@cache
def _revision() -> str:
    try:
        commit = run(["git", "rev-parse", "HEAD"], cwd=_PROJECT, timeout=10).stdout.strip()
        edited = run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=_PROJECT, timeout=10).stdout.strip()
    except CommandFailed:
        return "unknown"
    return f"{commit}+changes" if edited else commit
