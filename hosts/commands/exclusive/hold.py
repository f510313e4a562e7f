"""All machines held as a deploy holds them, for as long as a command works on them."""

from __future__ import annotations

import contextlib
import getpass
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bastide import hold
from bastide.console import say
from bastide.errors import BastideError, StackError
from hosts.enrolment.first_contact import open_strictly, target
from hosts.stack import Stack
from hosts.transport.client import PinnedClient

_HOLD = "sudo -n python3 -I -S -"


@contextlib.contextmanager
def held(stack: Stack, what: str, *, besides: str = "", force: bool = False) -> Iterator[None]:
    """Hold every machine as a deploy does (decision 0015): no deploy, no reboot of its own, nothing like it meanwhile.

    `what` is being done; `besides` is one that is off and cannot be asked; with `force` others may not answer either.
    Raises `StackError` when somebody holds one.
    """
    with contextlib.ExitStack() as connections:
        for machine in stack.machines:
            if machine.name == besides:
                continue
            goal = target(stack.name, stack.root, stack.settings, machine, None)
            try:
                client = connections.enter_context(contextlib.closing(open_strictly(goal, say)))
            except BastideError as error:
                if not force:
                    raise
                say(f"! {machine.name} is not held: {error.message}")
                continue
            if other := _hold(client, what):
                since = time.strftime("%H:%M:%S", time.localtime(other["since"]))
                raise StackError(
                    f"{other['who']} works on {machine.name} since {since}; nothing has been changed",
                    "wait until that is done, then the same command again",
                )
        yield


def _hold(client: PinnedClient, what: str) -> dict[str, Any]:
    program = Path(hold.__file__).read_text(encoding="utf-8")
    stdin, stdout, stderr = client.exec_command(_HOLD, timeout=30)
    stdin.write(f"{program}\nhold({f'{getpass.getuser()}@{socket.gethostname()} ({what})'!r})\n")
    stdin.channel.shutdown_write()
    said = stdout.read().decode()
    if stdout.channel.recv_exit_status() != 0:
        raise StackError(f"it does not say whether somebody works on it: {stderr.read().decode().strip()}", "log in")
    found: dict[str, Any] = json.loads(said)
    return found
