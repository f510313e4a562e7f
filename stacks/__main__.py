"""`python -m stacks COMMAND NAME`: what `pulumi up` needs around it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from bastide.command_line import Command, Parser, parser_of, run_chosen
from bastide.console import exit_with, say
from stacks.ops.init import check_variables, init_stack, storage_variables
from stacks.ops.lifecycle import lab_forget, lab_up, refuse_protected
from stacks.ops.recover import recover
from stacks.ops.state import backup, make_state_bucket


def _on_stack(job: Callable[[str, Path], None]) -> Callable[[Namespace, Path], int]:
    """A command that gets nothing but the name of a stack."""

    def run(options: Namespace, root: Path) -> int:
        job(options.stack, root)
        return 0

    return run


def _stack(parser: Parser) -> None:
    parser.add_argument("stack")


def _init_arguments(parser: Parser) -> None:
    _stack(parser)
    parser.add_argument(
        "--lab", action="store_true", help="make a missing stack file from the example, for the local cloud"
    )
    parser.add_argument("--existing", action="store_true", help="a new file's server is one that somebody else made")
    parser.add_argument("--no-file", action="store_true", help="complete a stack that has its file; make none")


def _init(options: Namespace, root: Path) -> int:
    init_stack(options.stack, root, lab=options.lab, begin=not options.no_file, existing=options.existing)
    return 0


def _storage_keys(options: Namespace, root: Path) -> int:
    if lines := storage_variables(options.stack, root):
        say(lines)
    return 0


def _check_keys(options: Namespace, root: Path) -> int:
    if lines := check_variables(options.stack, root):
        say(lines)
    return 0


def _backup_arguments(parser: Parser) -> None:
    _stack(parser)
    parser.add_argument("file", type=Path, metavar="FILE")


def _backup(options: Namespace, root: Path) -> int:
    backup(options.stack, root, options.file)
    return 0


def _bucket_arguments(parser: Parser) -> None:
    parser.add_argument("bucket", metavar="NAME")
    parser.add_argument("--location", choices=("fsn1", "nbg1", "hel1"), required=True)
    parser.add_argument("--endpoint", metavar="URL", help="default: the provider's own at that location")


def _state_bucket(options: Namespace, root: Path) -> int:
    endpoint = options.endpoint or f"https://{options.location}.your-objectstorage.com"
    url = make_state_bucket(options.bucket, endpoint, options.location)
    say(f"export PULUMI_BACKEND_URL='{url}'")
    return 0


COMMANDS = (
    Command(
        "init",
        "make what the stack lacks: a small stack file; and once that is complete, its state and its master secret",
        _init,
        _init_arguments,
    ),
    Command("lab-up", "start the local cloud, when the stack file has settings.lab", _on_stack(lab_up), _stack),
    Command(
        "lab-forget",
        "after `python -m lab down`: drop the state and the host keys that speak of its machines",
        _on_stack(lab_forget),
        _stack,
    ),
    Command(
        "recover",
        "after a killed `pulumi up`: give up its lock, take over what it had made",
        _on_stack(recover),
        _stack,
    ),
    Command(
        "storage-keys",
        "for eval: the object storage's keys for the checks, where they can be read",
        _storage_keys,
        _stack,
    ),
    Command(
        "check-keys",
        "for eval: what the checks may read the object storage and the provider's API with, where it can be read",
        _check_keys,
        _stack,
    ),
    Command("may-destroy", "exit 0 when nothing of the stack is protected", _on_stack(refuse_protected), _stack),
    Command("backup", "write the state to a file; secrets in it stay encrypted", _backup, _backup_arguments),
    Command(
        "state-bucket",
        "make the bucket for states, and say its PULUMI_BACKEND_URL",
        _state_bucket,
        _bucket_arguments,
    ),
)


def parser() -> Parser:
    """What the command line may say."""
    return parser_of("python -m stacks", "What `pulumi up` needs around it.", COMMANDS)


def main() -> int:
    """Run one command; returns the exit code."""
    return run_chosen(parser(), Path.cwd())


if __name__ == "__main__":
    exit_with(main)
