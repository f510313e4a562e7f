"""`python -m hosts COMMAND`: enrol the machines of a stack, say how they are, and write what reaches them."""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.command_line import Parser, parser_of, run_chosen
from bastide.console import exit_with
from hosts.commands import (
    access,
    audit,
    db_dump,
    db_import,
    db_password,
    doctor,
    drift,
    enroll,
    identity,
    inventory,
    plan,
    rekey,
    resize,
    ssh_config,
    status,
    vpn,
)
from hosts.stack import stack_name

COMMANDS = tuple(
    module.COMMAND
    for module in (
        *(enroll, inventory, ssh_config, identity),
        *(access, plan, drift, status, doctor, audit),
        *(rekey, resize, vpn, db_password, db_dump, db_import),
    )
)

_DESCRIPTION = """\
Enrol the machines of a stack, say how they are, and write what reaches them.

Exit codes of plan, drift and audit: 0 nothing differs, 2 something does, 1 error (docs/reference/exit-codes.md).
enroll, inventory, plan and drift read the stack and therefore need its passphrase."""
_STACK_HELP = "default: $BASTIDE_STACK, else lab"


def parser() -> Parser:
    """What the command line may say. The stack may stand before the command, too."""
    whole = parser_of("python -m hosts", _DESCRIPTION, COMMANDS, common=_stack)
    whole.add_argument("--stack", default=stack_name(), help=_STACK_HELP)
    return whole


def main() -> int:
    """Run one command; returns the exit code."""
    return run_chosen(parser(), Path.cwd())


def _stack(command: Parser) -> None:
    # without a default here: it would stand in for what was said before the command
    command.add_argument("--stack", default=argparse.SUPPRESS, help=_STACK_HELP)


if __name__ == "__main__":
    exit_with(main)
