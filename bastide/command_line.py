"""`python -m ROOM COMMAND`: each command with its own arguments, and wrong ones refused in two lines.

An argument that a command does not know is an error of that command, and never taken for another's. Stdlib only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

WRONG_USAGE = 2


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong and what to do next, as `bastide.console.exit_with` does.

    `wrong_usage` is the exit code then: 2, unless the command says something else by that.
    """

    def __init__(self, *, wrong_usage: int = WRONG_USAGE, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._wrong_usage = wrong_usage

    def error(self, message: str) -> NoReturn:
        """Leave."""
        self.exit(self._wrong_usage, f"error: {self.prog}: {message}\n next: `{self.prog} --help` says what it knows\n")

    def parse_known_args(  # type: ignore[override]  # one signature of argparse's two
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Nothing stays unknown: left alone, argparse names the arguments of a command that it did not know without
        naming the command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _none(parser: Parser) -> None:
    """No arguments of its own."""


@dataclass(frozen=True)
class Command:
    """One command: what it is called and for, what it is given, and what it does.

    `run` gets the parsed arguments and the project's folder, and returns the exit code.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace, Path], int]
    arguments: Callable[[Parser], None] = _none
    wrong_usage: int = WRONG_USAGE


def parser_of(
    prog: str, description: str, commands: Iterable[Command], common: Callable[[Parser], None] = _none
) -> Parser:
    """The parser of a room's commands; what it has parsed holds the chosen one as `command`.

    `common` adds the arguments that all of them have.
    """
    parser = Parser(prog=prog, description=description)
    known = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in commands:
        own: Parser = known.add_parser(
            command.name, help=command.help, description=command.help, wrong_usage=command.wrong_usage
        )
        common(own)
        command.arguments(own)
        own.set_defaults(command=command)
    return parser


def run_chosen(parser: Parser, root: Path, words: Sequence[str] | None = None) -> int:
    """Parse the command line (or `words`) and run the command; returns its exit code."""
    options = parser.parse_args(words)
    command: Command = options.command
    return command.run(options, root)
