"""Another master secret for a stack: v2 beside v1, a deploy, then v1 goes when nothing uses it any more.

    python -m hosts rekey             adds the next version; derived secrets change with the next deploy
    python -m hosts rekey --finish    removes the older versions, once every machine is deployed with the newest

Bootstrap host keys come from the oldest version there is: a server that was made before, and never reached, still shows
the key that this one gave it. That is why older versions stay until all machines are enrolled. Servers that exist are
not touched: their user_data is never compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.command_line import Command, Parser
from bastide.console import run, say
from bastide.errors import StackError
from bastide.secrets import new_master
from bastide.stackfile import SECRETS_KEY, stack_path
from hosts.commands.health.observation import observe_all
from hosts.stack import Stack, load_stack

_PULUMI_SECONDS = 60.0


def begin(stack: str, root: Path) -> None:
    """Add the next version. Raises `StackError` when a change is on the way already."""
    loaded = load_stack(stack, root)
    ring = loaded.keyring
    if len(ring.masters) > 1:
        raise StackError(
            f"the stack {stack} is on its way from {ring.oldest} to {ring.newest} already",
            f"`make deploy stack={stack}`, then `python -m hosts rekey --finish`",
        )
    version = f"v{int(ring.newest[1:]) + 1}"
    # through standard input: argv is everybody's to read
    _config(stack, root, "set", "--secret", "--path", f"{SECRETS_KEY}.master.{version}", input=new_master())
    say(f"{stack_path(stack)} has the master {version} beside {ring.newest}")
    say(f" next: `make deploy stack={stack}`, then `python -m hosts rekey --finish`")


def finish(stack: str, root: Path) -> None:
    """Remove all versions but the newest. Raises `StackError` while a machine may still need an older one."""
    loaded = load_stack(stack, root)
    ring = loaded.keyring
    older = [version for version in ring.masters if version != ring.newest]
    if not older:
        say(f"the stack {stack} has one master, {ring.newest}: nothing to finish")
        return
    if waiting := _waiting(loaded):
        raise StackError(
            f"{', '.join(older)} cannot go yet: {'; '.join(waiting)}", f"`make deploy stack={stack}`, then this again"
        )
    for version in older:
        _config(stack, root, "rm", "--path", f"{SECRETS_KEY}.master.{version}")
    say(f"removed {', '.join(older)}; everything is derived from {ring.newest} now")
    if loaded.settings.postgres:
        say(f" next: `make deploy stack={stack}`: what {', '.join(older)} signed is not trusted any more then")
    if loaded.settings.lab is None:
        say(f" next: commit {stack_path(stack)}")


def _waiting(stack: Stack) -> list[str]:
    """Why an older version must stay, a reason a machine."""
    reasons = []
    for one in observe_all(stack.inventory(), stack.root):
        if one.problem:
            reasons.append(f"{one.name}: {one.problem}")
        elif one.keyring != stack.keyring.newest:
            reasons.append(f"{one.name} was last deployed with {one.keyring or 'none'}")
    return reasons


def _config(stack: str, root: Path, *words: str, input: str | None = None) -> None:
    run(
        ["pulumi", "--non-interactive", "--stack", stack, "config", *words],
        cwd=root,
        input=input,
        timeout=_PULUMI_SECONDS,
        hint=f'eval "$(make env stack={stack})"',
    )


def _arguments(parser: Parser) -> None:
    parser.add_argument("--finish", action="store_true", help="remove the masters that nothing uses any more")


def _run(options: argparse.Namespace, root: Path) -> int:
    (finish if options.finish else begin)(options.stack, root)
    return 0


COMMAND = Command("rekey", "add another master secret; with --finish remove the older one", _run, _arguments)
