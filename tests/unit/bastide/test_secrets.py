"""Derived secrets: the published vectors, and that none of it shows."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from pydantic import SecretBytes

from bastide.errors import StackError
from bastide.secrets import Keyring, hkdf_sha256, keyring_from, new_master

# RFC 5869, appendix A: (key, salt, info, length, output)
VECTORS = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x00, 0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("key", "salt", "info", "length", "output"), VECTORS)
def test_the_derivation_is_the_published_one(key: str, salt: str, info: str, length: int, output: str) -> None:
    made = hkdf_sha256(bytes.fromhex(key), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length=length)
    assert made.hex() == output


def test_stack_purpose_and_version_each_give_another_secret() -> None:
    one, two = SecretBytes(b"1" * 32), SecretBytes(b"2" * 32)
    ring = Keyring("lab", {"v1": one})
    made = {
        ring.derive("a"),
        ring.derive("b"),
        Keyring("prod", {"v1": one}).derive("a"),
        Keyring("lab", {"v1": one, "v2": two}).derive("a"),
    }
    assert len(made) == 4
    assert Keyring("lab", {"v1": one, "v2": two}).derive("a", version="v1") == ring.derive("a")


def test_the_tenth_master_is_newer_than_the_ninth() -> None:
    ring = Keyring("lab", {f"v{n}": SecretBytes(bytes([n]) * 32) for n in range(1, 11)})
    assert ring.derive("a") == ring.derive("a", version="v10")


def test_a_server_made_before_a_change_of_the_master_still_shows_its_key() -> None:
    """Bootstrap keys come from the oldest master, everything else from the newest."""
    one, two = (SecretBytes(bytes([n]) * 32) for n in (1, 2))
    before, during, after = (Keyring("lab", ring) for ring in ({"v1": one}, {"v1": one, "v2": two}, {"v2": two}))
    keys = [ring.bootstrap_host_key("primary", 1).public for ring in (before, during, after)]
    assert keys[0] == keys[1] != keys[2]
    assert (during.oldest, during.newest) == ("v1", "v2")
    assert before.derive("a") != during.derive("a") == after.derive("a")


def test_a_bootstrap_key_is_a_whole_pair_bound_to_name_and_generation() -> None:
    ring = keyring_from("lab", {"v1": new_master()})
    pair = ring.bootstrap_host_key("primary", 1)
    private = load_ssh_private_key(pair.private.get_secret_value().encode(), None)
    assert pair.public.startswith("ssh-ed25519 ")
    assert private.public_key()
    others = {ring.bootstrap_host_key(name, number).public for name in ("primary", "standby") for number in (1, 2)}
    assert len(others) == 4
    assert "PRIVATE" not in repr(pair)


def test_nothing_of_a_master_shows() -> None:
    master = new_master()
    ring = keyring_from("lab", {"v1": master})
    assert master not in repr(ring) + str(ring) + json.dumps(ring.to_json())
    with pytest.raises(StackError) as caught:
        keyring_from("lab", {"v1": master + "00"})
    assert master not in caught.value.message


@pytest.mark.parametrize("masters", [None, {}, {"v1": "abc"}, {"one": "00" * 32}, "text"])
def test_a_bad_keyring_says_how_to_mend_it(masters: object) -> None:
    with pytest.raises(StackError) as caught:
        keyring_from("lab", masters)
    assert "pulumi config set --secret" in caught.value.hint
