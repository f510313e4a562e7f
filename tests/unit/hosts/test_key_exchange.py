"""A server's answers that a key exchange must refuse, in paramiko's own kind of error."""

from __future__ import annotations

from types import SimpleNamespace

import paramiko
import pytest
from paramiko.message import Message

from hosts.transport.key_exchange import HybridExchange


@pytest.mark.parametrize(
    ("answer", "said"), [(bytes(1088 + 32), "low order"), (bytes(1088), "has 1088 bytes")], ids=["zeros", "short"]
)
def test_a_wrong_answer_is_refused(answer: bytes, said: str) -> None:
    transport = SimpleNamespace(
        server_mode=False, _send_message=lambda message: None, _expect_packet=lambda *kinds: None
    )
    exchange = HybridExchange(transport)
    exchange.start_kex()
    reply = Message()
    for part in (b"host key", answer, b"signature"):
        reply.add_string(part)
    reply.rewind()
    with pytest.raises(paramiko.SSHException, match=said):
        exchange.parse_next(31, reply)
