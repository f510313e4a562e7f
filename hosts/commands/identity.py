"""`identity`: where the automation account's private key is looked for, for whoever has to put it there (CI)."""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.command_line import Command
from bastide.machines import identity_path
from bastide.stackfile import read, stack_path


def _run(options: argparse.Namespace, root: Path) -> int:
    named = read(stack_path(options.stack, root)).users.automation.identity
    # for a program to read, so without what `say` adds for people
    print(identity_path(named, root))
    return 0


COMMAND = Command("identity", "the path of the automation account's key: needs no passphrase and no pulumi (CI)", _run)
