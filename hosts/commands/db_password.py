"""The password of a role of the database, for an application that a person configures.

It is derived from the stack's master and stored nowhere: to a terminal or into a file that only its owner may read. A
pipe is refused: what reads it may be a log.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from bastide.cluster import password
from bastide.errors import BastideError
from hosts.stack import Stack, load_stack


def main(stack: str, root: Path, role: str, to: str) -> int:
    """The verb of `python -m hosts`."""
    show(load_stack(stack, root), role, to, out=sys.stdout, tell=sys.stderr)
    return 0


def show(stack: Stack, role: str, to: str, *, out: TextIO, tell: TextIO) -> None:
    """Print it to `out`, when that is a terminal, or write it to the file `to`. Raises `BastideError`."""
    postgres = stack.settings.postgres
    if postgres is None:
        raise BastideError(f"the stack {stack.name} has no database cluster", "add settings.postgres to the stack file")
    if role not in postgres.roles:
        roles = ", ".join(postgres.roles) or "none"
        raise BastideError(
            f"the stack file declares no role {role}" if role else "whose password?",
            f"make db-password role=NAME; there are {roles}",
        )
    secret = password(stack.keyring, role).get_secret_value()
    if to:
        path = Path(to)
        try:
            # made by this call or not at all: nobody else has it open
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secret + "\n")
        except OSError as error:
            raise BastideError(f"{path}: {error.strerror}", "name a file that does not exist yet: to=FILE") from None
        tell.write(f"wrote the password of {role} to {path}, for you alone; next: move it to where it is used\n")
    elif out.isatty():
        out.write(secret + "\n")
    else:
        raise BastideError(
            "a password is shown at a terminal only: what reads a pipe may be a log",
            f"make db-password role={role} to=FILE",
        )
