"""What a port's first words mean, and that what is sent to machines is whole."""

from __future__ import annotations

import base64
import socket
import struct
import subprocess
import sys
import threading

import pytest

from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify.probes import etcd, postgres
from tests.verify.probes.remote import connections
from tests.verify.probes.scripts import script, sent

PRIMARY, STANDBY, WITNESS = inventory().machines


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        (b"R" + struct.pack("!II", 23, 10) + b"SCRAM-SHA-256\0\0", "asks for scram"),
        (b"R" + struct.pack("!II", 12, 5) + b"salt", "asks for something else"),
        (b"R" + struct.pack("!II", 8, 0), "lets in"),
        (b"E" + struct.pack("!I", 20) + b"SFATAL\0Mno way\0\0", "refuses: no way"),
        (b"", "refuses: it hangs up"),
    ],
)
def test_a_servers_first_word_is_understood(says: bytes, answer: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(1024)
                line.sendall(says)

        server = threading.Thread(target=serve)
        server.start()
        assert connections.postgres("127.0.0.1", listener.getsockname()[1], "app", "app", None)["answer"] == answer
        server.join()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_server_without_tls_or_without_a_server_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(1024)
                line.sendall(b"N")

        server = threading.Thread(target=serve)
        server.start()
        found = connections.postgres("127.0.0.1", port, "app", "app", connections.old_client())
        assert found["answer"] == "no TLS: it is not offered"
        server.join()
    assert connections.postgres("127.0.0.1", port, "app", "app", None)["answer"].startswith("silent")


def test_scripts_for_machines_are_whole_programs() -> None:
    for command in (
        etcd.member_script(SETTINGS, PRIMARY, "example"),
        etcd.member_script(SETTINGS, WITNESS, "example"),
        postgres.server_script(SETTINGS, PRIMARY),
        postgres.stranger_script(SETTINGS),
        sent("wal_marker"),
        script({}, "pending"),
    ):
        assert len(command) < 100_000  # Linux takes 128 KB in one word (MAX_ARG_STRLEN)
        text = base64.b64decode(command.split()[2]).decode()
        done = subprocess.run(
            [sys.executable, "-c", "import sys; compile(sys.stdin.read(), 'script', 'exec')"],
            input=text,
            text=True,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
