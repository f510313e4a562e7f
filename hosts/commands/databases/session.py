"""One request to the far end on a site: what it is given as it goes, and what it answers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import paramiko

from bastide.console import say
from bastide.errors import BastideError
from bastide.layout.postgres import VERSION
from hosts.enrolment.first_contact import open_strictly, target
from hosts.stack import Stack
from hosts.transport.client import PinnedClient
from hosts.transport.runner import as_root

_PROGRAM = Path(__file__).with_name("far_end.py").read_bytes()
_PLACES = {"bin": f"/usr/lib/postgresql/{VERSION}/bin", "folder": "/run/bastide-import"}
_CHUNK = 1 << 18

Lines = Callable[[str], None]


class FarEndFailed(BastideError):
    """The far end could not do it. `lines` are what it said, to be read and not to be shown: rows may stand there."""

    def __init__(self, message: str, hint: str, lines: list[str]) -> None:
        super().__init__(message, hint)
        self.lines = lines


@contextlib.contextmanager
def site(stack: Stack, name: str) -> Iterator[PinnedClient]:
    """A connection to a site."""
    machine = next(machine for machine in stack.machines if machine.name == name)
    goal = target(stack.name, stack.root, stack.settings, machine, None)
    with contextlib.closing(open_strictly(goal, say)) as client:
        yield client


def ask(
    client: PinnedClient, verb: str, request: dict[str, Any], give: Iterable[bytes] = (), line: Lines = lambda _: None
) -> Any:  # noqa: ANN401 - as the verb has it
    """One request with what belongs to it; its answer. `line` gets each line that is said meanwhile.

    `give` is asked for more only as fast as the machine takes it, in a thread of its own. Raises `FarEndFailed`.
    """
    answer = bytearray()
    converse(client, verb, request, answer.extend, give, line)
    return json.loads(answer)


def converse(
    client: PinnedClient,
    verb: str,
    request: dict[str, Any],
    take: Callable[[bytes], object],
    give: Iterable[bytes] = (),
    line: Lines = lambda _: None,
) -> None:
    """The same; `take` gets the output as it comes."""
    channel = _channel(client)
    said: list[str] = []
    broken: list[BaseException] = []

    def listen() -> None:
        with channel.makefile_stderr("r") as errors:
            for one in errors:
                said.append(one.rstrip("\n"))
                del said[:-50]
                line(said[-1])

    def feed() -> None:
        try:
            channel.sendall(_PROGRAM)
            channel.sendall(json.dumps({"verb": verb, **_PLACES, **request}).encode() + b"\n")
            for data in give:
                channel.sendall(data)
        except OSError:
            pass  # it has heard enough, and says why
        except BaseException as error:
            broken.append(error)
            channel.close()

    threads = [threading.Thread(target=one, daemon=True) for one in (listen, feed)]
    try:
        channel.exec_command(as_root(_PROGRAM))
        for thread in threads:
            thread.start()
        while data := channel.recv(_CHUNK):
            take(data)
        threads[0].join()
        code = channel.recv_exit_status()
    finally:
        # whoever is still at work there notices that nobody listens any more
        channel.close()
    if broken:
        raise broken[0]
    if code:
        reason = said[-1] if said else "the connection was lost"
        raise FarEndFailed(reason, "`make cluster` says how the databases are", said)


def _channel(client: PinnedClient) -> paramiko.Channel:
    transport = client.get_transport()
    assert transport is not None
    return transport.open_session(timeout=20)
