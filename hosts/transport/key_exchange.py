"""Post-quantum key exchange for paramiko: mlkem768x25519-sha256, as OpenSSH speaks it since 9.9.

ssh-audit's policy for Debian 13 accepts no other kind any more, and paramiko 4.0 has none. The method is that of
draft-ietf-sshm-mlkem-hybrid-kex: ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) side by side, so that whoever wants the
session has to break both. The primitives are those of `cryptography`; here is only how their bytes travel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import paramiko
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from paramiko.message import Message

NAME = "mlkem768x25519-sha256"

_INIT, _REPLY = 30, 31  # SSH_MSG_KEX_HYBRID_INIT and _REPLY; the numbers of RFC 5656, 7.1
_CIPHERTEXT_BYTES = 1088  # FIPS 203, table 3
_X25519_BYTES = 32


class HybridTransport(paramiko.Transport):
    """A client's transport that offers the hybrid exchange first and paramiko's own ones after it."""

    _preferred_kex = (NAME, *paramiko.Transport._preferred_kex)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - paramiko's own arguments, passed on
        self._kex_info: dict[str, Callable[[paramiko.Transport], object]] = {
            **paramiko.Transport._kex_info,  # type: ignore[attr-defined]
            NAME: HybridExchange,
        }
        super().__init__(*args, **options)

    def _compute_key(self, id: str, nbytes: int) -> bytes:
        """A session key (RFC 4253, 7.2). The hybrid secret counts as a string, where others count as a number."""
        if not isinstance(self.K, bytes):
            return bytes(super()._compute_key(id, nbytes))  # type: ignore[misc]
        shared = _string(self.K) + self.H
        key = hashlib.sha256(shared + id.encode() + self.session_id).digest()
        while len(key) < nbytes:
            key += hashlib.sha256(shared + key).digest()
        return key[:nbytes]


class HybridExchange:
    """The client's side of one exchange; paramiko calls `start_kex`, then `parse_next` with the answer."""

    name = NAME
    hash_algo = hashlib.sha256

    def __init__(self, transport: Any) -> None:  # noqa: ANN401 - what is used of it carries no types
        self._transport = transport

    @classmethod
    def is_available(cls) -> bool:
        """paramiko asks; pinned requirements answer."""
        return True

    def start_kex(self) -> None:
        """Send both public keys, ML-KEM's first."""
        if self._transport.server_mode:
            raise paramiko.SSHException(f"{NAME} is for clients only here")
        self._lattice, self._curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self._offered = self._lattice.public_key().public_bytes_raw() + self._curve.public_key().public_bytes_raw()
        message = Message()
        message.add_byte(bytes([_INIT]))
        message.add_string(self._offered)
        self._transport._send_message(message)
        self._transport._expect_packet(_REPLY)

    def parse_next(self, kind: int, message: Message) -> None:
        """Take the server's reply: agree on the secret, and check that the host key signed the whole exchange."""
        if kind != _REPLY:
            raise paramiko.SSHException(f"{NAME} was sent a message of type {kind}")
        host_key, answer, signature = message.get_string(), message.get_string(), message.get_binary()
        if len(answer) != _CIPHERTEXT_BYTES + _X25519_BYTES:
            raise paramiko.SSHException(f"{NAME}: the server's answer has {len(answer)} bytes")
        secret = self._secret(answer[:_CIPHERTEXT_BYTES], answer[_CIPHERTEXT_BYTES:])
        transport = self._transport
        exchanged = Message()
        exchanged.add(
            transport.local_version, transport.remote_version, transport.local_kex_init, transport.remote_kex_init
        )
        for part in (host_key, self._offered, answer, secret):
            exchanged.add_string(part)
        transport._set_K_H(secret, hashlib.sha256(exchanged.asbytes()).digest())
        transport._verify_key(host_key, signature)
        transport._activate_outbound()

    def _secret(self, ciphertext: bytes, point: bytes) -> bytes:
        try:
            curve_secret = self._curve.exchange(X25519PublicKey.from_public_bytes(point))
        except ValueError:  # `cryptography` refuses a result of zeros, see RFC 7748, 6.1
            raise paramiko.SSHException(f"{NAME}: the server's X25519 value has a low order") from None
        return hashlib.sha256(self._lattice.decapsulate(ciphertext) + curve_secret).digest()


def _string(data: bytes) -> bytes:
    """RFC 4251, section 5: a length of four bytes, then the bytes."""
    return len(data).to_bytes(4, "big") + data
