"""SCRAM verifiers: the example of RFC 7677, and what PostgreSQL reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string

import pytest
from pydantic import SecretStr

from bastide.scram import verifier

# RFC 7677, section 3: user "user", password "pencil"
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
AUTH_MESSAGE = (
    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF, SIGNATURE = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_example_of_the_rfc_logs_in() -> None:
    text = verifier(SecretStr("pencil"), base64.b64decode(SALT)).get_secret_value()
    kind, iterations, keys = text.split("$")
    assert (kind, iterations) == ("SCRAM-SHA-256", f"4096:{SALT}")
    stored, server = (base64.b64decode(part) for part in keys.split(":"))
    # RFC 5802, section 3: the client's key is its proof without its signature, and what is stored is the key's digest
    signature = hmac.digest(stored, AUTH_MESSAGE.encode(), "sha256")
    client = bytes(a ^ b for a, b in zip(base64.b64decode(PROOF), signature, strict=True))
    assert hashlib.sha256(client).digest() == stored
    assert base64.b64encode(hmac.digest(server, AUTH_MESSAGE.encode(), "sha256")).decode() == SIGNATURE


def test_passwords_may_have_any_characters_of_ascii() -> None:
    found = {verifier(SecretStr(f"a{one}b"), b"\0" * 16).get_secret_value() for one in string.printable}
    assert len(found) == len(string.printable)


@pytest.mark.parametrize(("password", "salt"), [("pässword", b"\0" * 16), ("password", b"\0" * 15)])
def test_what_would_be_another_password_elsewhere_is_refused(password: str, salt: bytes) -> None:
    with pytest.raises(ValueError, match="wants an ASCII password"):
        verifier(SecretStr(password), salt)
