"""What PostgreSQL keeps of a password: a SCRAM-SHA-256 verifier (RFC 5802, 7677; its text form: RFC 5803).

With a derived salt the same password gives the same verifier: it can be compared without a login, set without the
password ever reaching the server, and given to PgBouncer, which needs the server's own one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from pydantic import SecretStr

ITERATIONS = 4096  # PostgreSQL's default (scram_iterations); the passwords are random: guessing is no way in
_SALT_BYTES = 16


def verifier(password: SecretStr, salt: bytes) -> SecretStr:
    """ "SCRAM-SHA-256$4096:<salt>$<stored key>:<server key>", as `pg_authid.rolpassword` has it.

    `salt` has 16 bytes. The password must be ASCII (SASLprep, RFC 4013, changes nothing in it then); raises
    `ValueError` else.
    """
    text = password.get_secret_value()
    if not text.isascii() or len(salt) != _SALT_BYTES:
        raise ValueError("a verifier wants an ASCII password and a salt of 16 bytes")
    salted = hashlib.pbkdf2_hmac("sha256", text.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return SecretStr(f"SCRAM-SHA-256${ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}")
