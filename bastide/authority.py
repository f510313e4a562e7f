"""Certificates between the platform's own parts: derived keys and deterministic signatures, so that none is stored.

An authority's key is derived from the master (`bastide.secrets`), and lives in memory for as long as a deploy signs.
The same input gives the same certificate to the byte (RFC 6979), so a run that changes nothing writes nothing; a new
period or a new master gives new ones.

ECDSA with P-256, not Ed25519: PostgreSQL's SCRAM binds to the digest of the certificate's signature
(tls-server-end-point, RFC 5929), and Ed25519 names none, so that logins over TLS fail.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr

from bastide.secrets import Keyring

# SEC 2, 2.4.2: the order of P-256
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PURPOSES = ("etcd", "etcd-peers", "postgres")
"""What the platform has an authority for."""
PERIOD = timedelta(days=90)
"""How often certificates are made anew: by the first deploy in each period."""
LIFETIME = 3 * PERIOD
"""How long each is valid: after a renewal there are at least two periods left to deploy again."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# An authority ends with its master (`python -m hosts rekey`), not by time: a date that nobody remembers would be an
# outage.
_BEGIN, _END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2085, 1, 1, tzinfo=UTC)


def authorities(keyring: Keyring) -> dict[str, str]:
    """What is trusted for each purpose, as nothing but a digest: the SHA-256 of the certificates, by purpose."""
    return {purpose: sha256(Authority(keyring, purpose).trusted().encode()).hexdigest() for purpose in PURPOSES}


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, both PEM (RFC 7468); `key` is in PKCS #8."""

    certificate: str
    key: SecretStr


@dataclass(frozen=True)
class Authority:
    """The certificate authority for one purpose of one stack ("etcd", "postgres")."""

    keyring: Keyring
    purpose: str

    def trusted(self) -> str:
        """The certificates to trust, PEM: the newest master's, and those of older ones that are still there."""
        versions = sorted(self.keyring.masters, key=lambda version: int(version[1:]), reverse=True)
        return "".join(_pem(self._root(version)) for version in versions)

    def issue(
        self,
        name: str,
        at: datetime,
        *,
        dns: Iterable[str] = (),
        addresses: Iterable[str] = (),
        server: bool = True,
        client: bool = True,
        common_name: bool = True,
    ) -> Certificate:
        """The certificate of `name` in the period that `at` lies in, good for TLS clients, and servers where wanted.

        `dns` and `addresses` are what clients may call it. A server is a client, too: etcd's gateway calls its own
        server with the server's certificate; with `client=False` it opens nothing. `common_name`: whether the subject
        names it; etcd's gateway refuses clients whose certificates have one, since it would not count.
        """
        version = self.keyring.newest
        number = (at - _EPOCH) // PERIOD
        begin = _EPOCH + number * PERIOD
        key = self._key(f"{name}/{number}", version)
        usages = [
            *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else []),
            *([ExtendedKeyUsageOID.SERVER_AUTH] if server else []),
        ]
        others = [x509.DNSName(word) for word in dns]
        others_ip = [x509.IPAddress(ipaddress.ip_address(word)) for word in addresses]
        root = self._root(version)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name) if common_name else x509.Name([]))
            .issuer_name(root.subject)
            .public_key(key.public_key())
            .serial_number(self._serial(f"{name}/{number}/{others}/{others_ip}/{server}", version))
            .not_valid_before(begin)
            .not_valid_after(begin + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_issuer(root), critical=False)
        )
        if others or others_ip:
            # RFC 5280, 4.1.2.6: critical where it is all that names the subject
            names = x509.SubjectAlternativeName([*others, *others_ip])
            builder = builder.add_extension(names, critical=not common_name)
        signed = builder.sign(self._key("authority", version), SHA256(), ecdsa_deterministic=True)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Certificate(_pem(signed), SecretStr(pem))

    def _root(self, version: str) -> x509.Certificate:
        key = self._key("authority", version)
        name = _name(f"bastide {self.keyring.stack} {self.purpose} {version}")
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(self._serial("authority", version))
            .not_valid_before(_BEGIN)
            .not_valid_after(_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256(), ecdsa_deterministic=True)
        )

    def _key(self, name: str, version: str) -> ec.EllipticCurvePrivateKey:
        # FIPS 186-5, A.2.1: with 64 bits more than the order has, the remainder is as good as even
        bits = self.keyring.derive(f"{self.purpose}-authority/key/{name}", version=version, length=40)
        return ec.derive_private_key(int.from_bytes(bits, "big") % (_ORDER - 1) + 1, ec.SECP256R1())

    def _serial(self, name: str, version: str) -> int:
        # RFC 5280, 4.1.2.2: positive, at most 20 octets
        bits = self.keyring.derive(f"{self.purpose}-authority/serial/{name}", version=version, length=16)
        return int.from_bytes(bits, "big") >> 1 | 1


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _issuer(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
