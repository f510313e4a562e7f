"""The password of a role of the database, for an application that a person configures.

It is derived from the stack's master and stored nowhere: to a terminal or into a file that only its owner may read. A
pipe is refused: what reads it may be a log.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TextIO

from bastide.cluster import password
from bastide.command_line import Command, Parser
from bastide.errors import BastideError
from hosts.commands.databases.cluster import of_stack
from hosts.stack import Stack, load_stack


def show(stack: Stack, role: str, to: str, *, out: TextIO, tell: TextIO) -> None:
    """Print it to `out`, when that is a terminal, or write it to the file `to`. Raises `BastideError`."""
    postgres = of_stack(stack)
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


def _arguments(parser: Parser) -> None:
    parser.add_argument("--role", default="", help="whose")
    parser.add_argument("--to", default="", help="a file to write, readable by you alone")


def _run(options: argparse.Namespace, root: Path) -> int:
    show(load_stack(options.stack, root), options.role, options.to, out=sys.stdout, tell=sys.stderr)
    return 0


COMMAND = Command(
    "db-password", "the password of a role of the database, at a terminal or into a file", _run, _arguments
)
