"""Writing a file so that a reader, or a run after a power cut, finds the old one or the new one and nothing between."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bastide.errors import BastideError


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write `text` as UTF-8 beside `path` and put it in its place; `mode` holds from the first byte (less the umask).

    The folder must exist. Raises `BastideError` (a full disk, no right to write); `path` is as it was then.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # left by a run that was killed, perhaps with another mode
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise BastideError(
            f"cannot write {path}: {error.strerror}; it is as it was",
            f"see `df -h {path.parent}` and `ls -ld {path.parent}`, then run the same command again",
        ) from None
