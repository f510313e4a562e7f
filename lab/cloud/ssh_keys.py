"""SSH keys: public keys with a name, put on new servers for root."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name, get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input, not_unique
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.state import Record, Tables

# key types (RFC 4253, 5656, 8709 and OpenSSH's PROTOCOL.u2f) and how many fields follow the type in the blob
_FIELDS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /ssh_keys."""
    fields = Fields(call.body)
    name, text, labels = fields.text("name"), fields.text("public_key", longest=16384), fields.labels()
    fields.check()
    digest = fingerprint(text)
    with cloud.state.change() as tables:
        if any(key["fingerprint"] == digest for key in tables.ssh_keys.values()):
            raise not_unique("SSH key with the same fingerprint already exists", "public_key")
        check_name(tables.ssh_keys, "SSH key", name)
        record: Record = {
            "id": tables.new_id(),
            "name": name,
            "fingerprint": digest,
            "public_key": text.strip(),
            "labels": labels or {},
            "created": cloud.now(),
        }
        tables.ssh_keys[record["id"]] = record
        return Reply(201, {"ssh_key": dict(record)})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /ssh_keys."""
    with cloud.state.read() as tables:
        return listed(call, "ssh_keys", map(dict, tables.ssh_keys.values()), equal=("name", "fingerprint"))


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /ssh_keys/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"ssh_key": dict(get(tables, "ssh_keys", "SSH key", call.id("SSH key")))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /ssh_keys/{id}: name and labels."""
    with cloud.state.change() as tables:
        record = get(tables, "ssh_keys", "SSH key", call.id("SSH key"))
        rename(tables.ssh_keys, "SSH key", record, Fields(call.body))
        return Reply(200, {"ssh_key": dict(record)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /ssh_keys/{id}. Servers keep the keys that they were made with."""
    with cloud.state.change() as tables:
        del tables.ssh_keys[get(tables, "ssh_keys", "SSH key", call.id("SSH key"))["id"]]
    return Reply(204)


def public_keys(tables: Tables, wanted: list[str]) -> list[str]:
    """The public keys with these ids or names. Raises `invalid_input` for one that does not exist."""
    found = []
    for word in wanted:
        match = [key for key in tables.ssh_keys.values() if word in (str(key["id"]), key["name"])]
        if not match:
            raise invalid_input("ssh_keys", f"SSH key '{word}' does not exist")
        found.append(match[0]["public_key"])
    return found


def fingerprint(text: str) -> str:
    """The MD5 fingerprint of a public key, in pairs of hex digits with colons, as the API publishes it.

    Raises `invalid_input` when the text is not one public key in OpenSSH's format.
    """
    words = text.split(None, 2)
    if len(words) < 2 or words[0] not in _FIELDS or "\n" in text.strip():
        raise invalid_input("public_key", "is not an SSH public key in OpenSSH's format")
    try:
        blob = base64.b64decode(words[1], validate=True)
        parts = _parts(blob)
    except (binascii.Error, struct.error, ValueError):
        raise invalid_input("public_key", "cannot be parsed: the key is damaged or cut off") from None
    if parts[0] != words[0].encode() or len(parts) != 1 + _FIELDS[words[0]]:
        raise invalid_input("public_key", "cannot be parsed: type and contents do not fit together")
    if words[0] == "ssh-ed25519" and len(parts[1]) != 32:
        raise invalid_input("public_key", "cannot be parsed: an ed25519 key has 32 bytes")
    # a name for the key, not a proof of anything: MD5 is what the API publishes
    return hashlib.md5(blob, usedforsecurity=False).digest().hex(":")


def _parts(blob: bytes) -> list[bytes]:
    """The length-prefixed fields of a key blob (RFC 4251, section 5, "string")."""
    parts = []
    while blob:
        (size,) = struct.unpack(">I", blob[:4])
        if size > len(blob) - 4:
            raise ValueError("cut off")
        parts.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if not parts:
        raise ValueError("empty")
    return parts
