"""The far end of `runner.py`: runs on a machine, as root by one sudo, and needs Python's standard library alone.

Each request is a line of JSON, {"command": "..."}; it is written to the system log, as sudo would, and run by /bin/sh.
Answers are frames: a kind and a length, "o 12\\n", and so many bytes. Kinds: o and e are output, x the exit code (128
and the signal's number for a command that a signal ended), r says once that it is ready. When the operator goes away,
a command that is at work is let finish, as sshd does: half an apt run would be worse.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import syslog

_LOGGED_CHARACTERS = 8000  # of a command; journald.conf(5), LineMax, is 48 KiB


class Session:
    """One operator's connection. `gone` is set once nobody listens any more."""

    gone = False

    def serve(self) -> None:
        """Answer requests from standard input until it ends."""
        who = os.environ.get("SUDO_USER", "?")
        # this program's command line, which means nothing to the commands
        os.environ.pop("SUDO_COMMAND", None)
        syslog.openlog("bastide", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
        self.answer(b"r", b"")
        while not self.gone and (line := self.request()):
            command = json.loads(line)["command"]
            syslog.syslog(syslog.LOG_NOTICE, f"{who} : USER=root ; COMMAND={command[:_LOGGED_CHARACTERS]}")
            self.answer(b"x", str(self.run(command)).encode())

    def run(self, command: str) -> int:
        """Run one command, answering with its output as it comes; returns its exit code."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with selectors.DefaultSelector() as ready, process.stdout, process.stderr:
            ready.register(process.stdout, selectors.EVENT_READ, b"o")
            ready.register(process.stderr, selectors.EVENT_READ, b"e")
            # as with sshd, a command is over when nobody holds its outputs any more
            while ready.get_map():
                for key, _ in ready.select():
                    if data := os.read(key.fd, 65536):
                        self.answer(key.data, data)
                    else:
                        ready.unregister(key.fileobj)
        code = process.wait()
        return code if code >= 0 else 128 - code

    def answer(self, kind: bytes, data: bytes) -> None:
        """Send one frame, unless nobody listens any more."""
        frame = kind + b" %d\n" % len(data) + data
        while frame and not self.gone:
            try:
                frame = frame[os.write(1, frame) :]
            except OSError:
                self.gone = True

    def request(self) -> bytes:
        """The next request, b"" at the end."""
        line = b""
        while not line.endswith(b"\n"):
            data = os.read(0, 65536)
            if not data:
                return b""
            line += data
        return line


if __name__ == "__main__":
    Session().serve()
