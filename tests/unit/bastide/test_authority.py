"""The authorities between the platform's parts: the same to the byte, as RFC 5280 wants them, and trusted by others."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from pydantic import SecretBytes

from bastide.authority import LIFETIME, PERIOD, Authority, Certificate, authorities
from bastide.console import run
from bastide.secrets import Keyring
from tests.verify.probes.remote.connections import trusted

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
V1, V2 = SecretBytes(b"\1" * 32), SecretBytes(b"\2" * 32)
OLD = Authority(Keyring("prod", {"v1": V1}), "postgres")
BOTH = Authority(Keyring("prod", {"v1": V1, "v2": V2}), "postgres")
NEW = Authority(Keyring("prod", {"v2": V2}), "postgres")


def server(authority: Authority = OLD, at: datetime = AT) -> Certificate:
    return authority.issue("primary", at, dns=("primary", "localhost"), addresses=("10.21.0.11", "127.0.0.1"))


def loaded(certificate: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.certificate.encode())


def accepted(authority: Authority, certificate: Certificate, name: str = "primary", at: datetime = AT) -> bool:
    """Whether a client that trusts `authority` takes the certificate for a server's of this name, now."""
    store = Store(x509.load_pem_x509_certificates(authority.trusted().encode()))
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(loaded(certificate), [])
    except VerificationError:
        return False
    return True


def test_the_same_input_gives_the_same_bytes_and_another_gives_others() -> None:
    assert server() == server(Authority(Keyring("prod", {"v1": V1}), "postgres"), AT + timedelta(days=1))
    others = [
        server(NEW),
        server(Authority(Keyring("lab", {"v1": V1}), "postgres")),
        server(Authority(Keyring("prod", {"v1": V1}), "etcd")),
        OLD.issue("standby", AT, dns=("primary",)),
        server(at=AT + PERIOD),
    ]
    found = [server(), *others]
    assert len({one.certificate for one in found}) == len(found)
    assert len({one.key.get_secret_value() for one in found}) == len(found)
    assert len({loaded(one).serial_number for one in found}) == len(found)


def test_a_certificate_lives_for_three_periods_and_is_made_anew_in_each() -> None:
    one = loaded(server())
    assert one.not_valid_before_utc <= AT < one.not_valid_before_utc + PERIOD
    assert one.not_valid_after_utc - one.not_valid_before_utc == LIFETIME == timedelta(days=270)
    assert server(at=one.not_valid_before_utc) == server(at=one.not_valid_before_utc + PERIOD - timedelta(seconds=1))
    assert server(at=one.not_valid_before_utc + PERIOD) != server()
    assert accepted(OLD, server(), at=AT + 2 * PERIOD)
    assert not accepted(OLD, server(), at=AT + 3 * PERIOD)


def test_fields_are_as_rfc_5280_wants_them() -> None:
    one = loaded(server())
    (root,) = x509.load_pem_x509_certificates(OLD.trusted().encode())
    for certificate in (one, root):
        assert certificate.version is x509.Version.v3
        assert 0 < certificate.serial_number < 2**159  # 4.1.2.2: positive, at most 20 octets
        assert certificate.issuer == root.subject
        assert certificate.signature_hash_algorithm is not None
        assert certificate.signature_hash_algorithm.name == "sha256"  # what SCRAM binds to, RFC 5929
        certificate.verify_directly_issued_by(root)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not one.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical
    assert names.value.get_values_for_type(x509.DNSName) == ["primary", "localhost"]
    assert names.value.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.21.0.11"),
        ipaddress.ip_address("127.0.0.1"),
    ]
    usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    identifier = one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_a_client_without_a_common_name_is_named_by_a_critical_extension() -> None:
    one = loaded(OLD.issue("primary-patroni", AT, dns=("primary",), server=False, common_name=False))
    assert one.subject == x509.Name([])
    assert one.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical  # 4.1.2.6
    assert list(one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]


def test_the_key_belongs_to_the_certificate_and_is_no_authoritys() -> None:
    key = load_pem_private_key(server().key.get_secret_value().encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == loaded(server()).public_key()
    assert "PRIVATE" not in server().certificate + OLD.trusted()
    assert "PRIVATE" not in repr(server())


def test_a_new_master_is_trusted_beside_the_old_one_until_that_goes() -> None:
    assert accepted(OLD, server(OLD))
    assert accepted(BOTH, server(OLD)), "machines still show what the old master signed"
    assert accepted(BOTH, server(BOTH))
    assert loaded(server(BOTH)).issuer == x509.load_pem_x509_certificates(NEW.trusted().encode())[0].subject
    assert not accepted(NEW, server(OLD))
    assert not accepted(OLD, server(BOTH))
    assert not accepted(OLD, server(), name="standby")


def test_what_is_trusted_is_told_by_a_digest_of_the_certificates_themselves(tmp_path: Path) -> None:
    """As a check finds it on a machine, whatever stands between the certificates there."""
    ring = BOTH.keyring
    found = authorities(ring)
    assert set(found) == {"etcd", "etcd-peers", "postgres"}
    assert len({*found.values(), *authorities(OLD.keyring).values()}) == 6
    for purpose, digest in found.items():
        (tmp_path / purpose).write_text("# a head\n" + Authority(ring, purpose).trusted())
        assert trusted(str(tmp_path / purpose)) == digest
        (tmp_path / purpose).write_text(Authority(ring, purpose).trusted() + OLD.trusted())
        assert trusted(str(tmp_path / purpose)) != digest
    assert trusted(str(tmp_path / "none")) == ""


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_agrees(purpose: str, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text(BOTH.trusted())
    (tmp_path / "server").write_text(server(BOTH).certificate)
    words = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "primary"]
    words += ["-attime", str(int(AT.timestamp()))]
    run([*words, "-CAfile", str(tmp_path / "ca"), str(tmp_path / "server")], timeout=20)
