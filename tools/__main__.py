"""`python3 -m tools install | bootstrap | env --stack NAME | shown --log FILE -- COMMAND`."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from types import FrameType

from bastide.console import exit_with, say
from bastide.errors import BastideError
from tools.env import as_shell, environment

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python3 -m tools", description="What Bastide needs on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("bootstrap", help="Debian packages and .venv")
    verbs.add_parser("install", help="Pulumi with its plugins, and the local cloud's object storage")
    env = verbs.add_parser("env", help='shell lines for eval "$(python3 -m tools env --stack NAME)"')
    env.add_argument("--stack", required=True, metavar="NAME")
    quiet = verbs.add_parser("shown", help="run a command with its output in a log, and tell what matters of it")
    quiet.add_argument("--log", required=True, type=Path, metavar="FILE")
    quiet.add_argument("command", nargs=argparse.REMAINDER)
    words = parser.parse_args()
    # a TERM ends what we started too, and releases the lock, as Ctrl-C does
    signal.signal(signal.SIGTERM, _interrupt)
    # imported when needed: `env` runs in front of every command and must be quick
    if words.verb == "bootstrap":
        from tools.bootstrap import bootstrap

        bootstrap(ROOT)
    elif words.verb == "install":
        from tools.install import install

        install()
    elif words.verb == "shown":
        from tools.shown import shown

        return shown(words.command[1:] if words.command[:1] == ["--"] else words.command, words.log)
    else:
        _print_environment(words.stack)
    return 0


def _print_environment(stack: str) -> None:
    try:
        lines = as_shell(environment(stack, ROOT))
    except BastideError:
        # `eval "$(...)"` swallows our exit code; this makes eval itself fail
        say("false")
        raise
    say(lines)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


exit_with(main)
