"""`identity`: where a private key is looked for, for whoever has to put it there (CI)."""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.command_line import Command, Parser
from bastide.errors import StackError
from bastide.machines import identity_path
from bastide.stackfile import read, stack_path


def _run(options: argparse.Namespace, root: Path) -> int:
    users = read(stack_path(options.stack, root)).users
    account = users.verification if options.verification else users.automation
    if account is None:
        raise StackError(f"{options.stack} has no account for checks", "name one in settings.users.verification")
    # for a program to read, so without what `say` adds for people
    print(identity_path(account.identity, root))
    return 0


def _arguments(parser: Parser) -> None:
    parser.add_argument("--verification", action="store_true", help="that of the checks' account")


COMMAND = Command(
    "identity", "the path of the automation account's key: needs no passphrase and no pulumi (CI)", _run, _arguments
)
