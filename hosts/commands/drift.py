"""`drift`: what is not as it was made, at the provider and on the machines. It changes nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.command_line import Command, Parser
from hosts.commands.comparison.changes import FAILED
from hosts.commands.comparison.compare import show_changes


def _arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts, on standard output")


def _run(options: argparse.Namespace, root: Path) -> int:
    return show_changes(options.stack, root, "drift", as_json=options.json)


COMMAND = Command(
    "drift", "what is not as it was made; asks the provider too, changes nothing", _run, _arguments, wrong_usage=FAILED
)
