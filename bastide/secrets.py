"""Service passwords and bootstrap keys are derived, so that none of them lies in a state file.

HKDF with SHA-256 (RFC 5869) from a master of 32 random bytes; stack, purpose and version stand in `info`, so that
the same purpose in two stacks gives two secrets, and a new version gives a new one. Masters are a keyring: v2 beside v1
while secrets are moved over.
"""

from __future__ import annotations

import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretBytes, SecretStr

from bastide.errors import StackError

MASTER_BYTES = 32
_NONE = SecretStr("")


@dataclass(frozen=True)
class HostKeyPair:
    """An ssh key pair: `private` in OpenSSH's format, `public` as "ssh-ed25519 AAAA..."."""

    private: SecretStr
    public: str


@dataclass(frozen=True)
class Keyring:
    """The masters of a stack by version ("v1", "v2"); the newest is used unless a version is named."""

    stack: str
    masters: Mapping[str, SecretBytes]

    def to_json(self) -> dict[str, object]:
        """What `pyinfra ... debug-inventory` prints of it: versions, never a master."""
        return {"stack": self.stack, "masters": sorted(self.masters)}

    @property
    def newest(self) -> str:
        """The version that secrets are derived from."""
        return max(self.masters, key=_number)

    @property
    def oldest(self) -> str:
        """The version that bootstrap host keys are derived from: a server that is not enrolled yet still shows its."""
        return min(self.masters, key=_number)

    def derive(self, purpose: str, *, version: str = "", length: int = 32) -> bytes:
        """`length` bytes for `purpose`, the same at every call.

        Raises `StackError` when the keyring has no such version.
        """
        chosen = version or self.newest
        if chosen not in self.masters:
            raise StackError(f"the keyring of {self.stack} has no master {chosen}", f"it has {', '.join(self.masters)}")
        info = "\0".join(("bastide", self.stack, purpose, chosen)).encode()
        return hkdf_sha256(self.masters[chosen].get_secret_value(), salt=b"", info=info, length=length)

    def bootstrap_host_key(self, server: str, generation: int) -> HostKeyPair:
        """The ssh host key that a new server of this generation shows at the first connection, and only then."""
        seed = self.derive(f"bootstrap-host-key/{server}/{generation}", version=self.oldest)
        key = Ed25519PrivateKey.from_private_bytes(seed)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return HostKeyPair(SecretStr(private), public)


def keyring_from(stack: str, masters: object) -> Keyring:
    """The keyring from the configuration's `secrets.master`: {"v1": "<64 hex digits>", ...}.

    Raises `StackError` when there is none, or one does not parse; the value is never shown.
    """
    hint = "set one: `openssl rand -hex 32 | pulumi config set --secret --path bastide:secrets.master.v1`"
    if not isinstance(masters, Mapping) or not masters:
        raise StackError(f"the stack {stack} has no master secret", hint)
    ring: dict[str, SecretBytes] = {}
    for version, text in masters.items():
        try:
            value = binascii.unhexlify(str(text))
        except (binascii.Error, ValueError):
            value = b""
        if len(value) != MASTER_BYTES or not (str(version).startswith("v") and str(version)[1:].isdigit()):
            raise StackError(f"bastide:secrets.master.{version} must be {2 * MASTER_BYTES} hex digits", hint)
        ring[str(version)] = SecretBytes(value)
    return Keyring(stack, ring)


def _number(version: str) -> int:
    return int(version[1:])


def new_master() -> str:
    """A fresh master as hex digits, from the operating system's generator."""
    return secrets.token_hex(MASTER_BYTES)


@dataclass(frozen=True)
class StorageKeys:
    """What opens the object storage. `access` names the account, `secret` is its password."""

    access: str
    secret: SecretStr


def storage_keys_from(stack: str, secrets: object) -> StorageKeys:
    """The keys from the configuration's `bastide:secrets`: {"storage": {"access_key": ..., "secret_key": ...}}.

    Raises `StackError` when they are not there; no value is shown.
    """
    found = secrets.get("storage") if isinstance(secrets, Mapping) else None
    keys = found if isinstance(found, Mapping) else {}
    access, secret = (str(keys.get(name) or "") for name in ("access_key", "secret_key"))
    if not access or not secret:
        raise StackError(
            f"the stack {stack} has buckets and no keys for them",
            "make a pair in the provider's console, then `pulumi config set --secret --path "
            "bastide:secrets.storage.access_key`, and the same for secret_key",
        )
    return StorageKeys(access, SecretStr(secret))


@dataclass(frozen=True)
class AlertSecrets:
    """What opens the ways of alerts: the mail relay's password, and URLs that whoever knows them can call."""

    mail_password: SecretStr = _NONE
    webhook_url: SecretStr = _NONE
    heartbeat_url: SecretStr = _NONE

    def to_json(self) -> dict[str, bool]:
        """What `pyinfra ... debug-inventory` prints of it: which are set."""
        return {field.name: bool(getattr(self, field.name).get_secret_value()) for field in fields(self)}


def alert_secrets_from(secrets: object) -> AlertSecrets:
    """From the configuration's `bastide:secrets`: {"alerts": {"mail_password": ..., ...}}; "" for each that is not."""
    found = secrets.get("alerts") if isinstance(secrets, Mapping) else None
    values = found if isinstance(found, Mapping) else {}
    return AlertSecrets(**{field.name: SecretStr(str(values.get(field.name) or "")) for field in fields(AlertSecrets)})


def hkdf_sha256(key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869), extract and expand."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=info).derive(key)
