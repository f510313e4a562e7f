"""Commands as root over one channel, instead of a channel, a login shell and a sudo for each.

Of a command's time over a fast line, sudo takes the larger part. So one sudo starts a small program on the machine
(`root_shell.py`, sent along, nothing is installed) that runs the commands one after the other and logs each, as sudo
would have.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paramiko

_PROGRAM = Path(__file__).with_name("root_shell.py").read_bytes()
_START_SECONDS = 20.0

Output = Callable[[str, str], None]


def as_root(program: bytes) -> str:
    """The command line that reads a Python program from its standard input and not a byte more, and runs it as root.

    What comes after it is for the program.
    """
    loader = f"""\
import os, sys
program = b""
while len(program) < {len(program)}:
    program += os.read(0, {len(program)} - len(program)) or sys.exit(1)
exec(program)
"""
    # -I and -S: nothing but the standard library
    return shlex.join(["sudo", "-H", "-n", "python3", "-I", "-S", "-c", loader])


class Runner:
    """Runs commands as root, one at a time. One for each connection; it ends with it."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        """Start the far end. Raises `SSHException` when that is not possible (no python3 there, no sudo)."""
        self._lock = threading.Lock()
        self._buffer = b""
        command = as_root(_PROGRAM)
        transport = client.get_transport()
        if transport is None:
            raise paramiko.SSHException("not connected")
        self._channel = transport.open_session(timeout=_START_SECONDS)
        try:
            self._channel.settimeout(_START_SECONDS)
            self._channel.exec_command(command)
            self._channel.sendall(_PROGRAM)
            if self._frame()[0] != "r":
                raise paramiko.SSHException("the far end does not speak as it should")
        except BaseException:
            self.close()
            raise

    def run(self, command: str, output: Output, timeout: float | None = None) -> int:
        """Run a command line with /bin/sh and return its exit code.

        `output` gets each line as it comes: "stdout" or "stderr", and the text without its end of line.
        Raises `TimeoutError` when it took longer than `timeout` seconds, `SSHException` when the machine was lost; the
        runner is closed then. As with a plain ssh, the command itself may go on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        rests = {"o": b"", "e": b""}
        names = {"o": "stdout", "e": "stderr"}
        with self._lock:
            try:
                self._channel.sendall(json.dumps({"command": command}).encode() + b"\n")
                while True:
                    self._channel.settimeout(None if deadline is None else max(0.0, deadline - time.monotonic()))
                    kind, data = self._frame()
                    if kind == "x":
                        break
                    *lines, rests[kind] = (rests[kind] + data).split(b"\n")
                    for line in lines:
                        output(names[kind], line.decode(errors="replace"))
            except BaseException:
                # also when a greenlet is thrown out of here: what comes next would be the answer to this command
                self.close()
                raise
        for kind, rest in rests.items():
            if rest:
                output(names[kind], rest.decode(errors="replace"))
        return int(data)

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return bool(self._channel.closed)

    def close(self) -> None:
        """End the far end once it has nothing more to do."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _frame(self) -> tuple[str, bytes]:
        while b"\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\n")
        kind, _, size = head.partition(b" ")
        if kind not in (b"r", b"o", b"e", b"x") or not size.isdigit():
            raise paramiko.SSHException("the far end does not speak as it should")
        while len(self._buffer) < int(size):
            self._more()
        data, self._buffer = self._buffer[: int(size)], self._buffer[int(size) :]
        return kind.decode(), data

    def _more(self) -> None:
        data = self._channel.recv(1 << 18)
        if not data:
            said = (
                self._channel.recv_stderr(2000).decode(errors="replace").strip()
                if self._channel.recv_stderr_ready()
                else ""
            )
            raise paramiko.SSHException(f"the connection is lost{f': {said}' if said else ''}")
        self._buffer += data
