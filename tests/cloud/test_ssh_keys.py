"""SSH keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.cloud.conftest import Api

# a key and its fingerprint as `ssh-keygen -E md5 -lf` prints it
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS"


def new_key(kind: str = "ed25519") -> str:
    makers: dict[str, Callable[[], Any]] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    }
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{makers[kind]().public_key().public_bytes(*form).decode()} somebody"


def test_life_of_a_key(client: Any) -> None:
    key = client.ssh_keys.create("anna", KEY + " anna", labels={"team": "ops"})
    assert key.fingerprint == "16:87:69:3f:34:e0:a5:14:2e:51:4a:aa:40:fa:f0:cb"
    assert key.public_key == KEY + " anna"
    assert client.ssh_keys.get_by_fingerprint(key.fingerprint) is not None
    assert client.ssh_keys.get_by_id(key.id).name == "anna"
    renamed = key.update(name="anna-2", labels={})
    assert (renamed.name, renamed.labels) == ("anna-2", {})
    assert client.ssh_keys.get_by_name("anna") is None
    assert client.ssh_keys.delete(renamed)
    assert client.ssh_keys.get_all() == []


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_kinds_of_keys(client: Any, kind: str) -> None:
    assert client.ssh_keys.create(kind, new_key(kind)).fingerprint.count(":") == 15


@pytest.mark.parametrize(
    "text", ["hello", "ssh-ed25519", KEY[:-6], KEY.replace("ed25519", "rsa"), KEY + "\n" + KEY, "ssh-ed25519 !!!!"]
)
def test_keys_that_do_not_parse(api: Api, text: str) -> None:
    response = api.ask("POST", "/ssh_keys", {"name": "x", "public_key": text})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")
    assert response.json()["error"]["details"]["fields"][0]["name"] == "public_key"


def test_keys_and_names_are_unique(api: Api) -> None:
    api.ok("POST", "/ssh_keys", {"name": "a", "public_key": KEY})
    assert api.error("POST", "/ssh_keys", {"name": "b", "public_key": KEY + " other"}) == (409, "uniqueness_error")
    assert api.error("POST", "/ssh_keys", {"name": "a", "public_key": new_key()}) == (409, "uniqueness_error")


def test_a_server_gets_the_keys_by_id_and_name(api: Api) -> None:
    one = api.ok("POST", "/ssh_keys", {"name": "one", "public_key": KEY})["ssh_key"]
    two = api.ok("POST", "/ssh_keys", {"name": "two", "public_key": new_key()})["ssh_key"]
    server = api.server(ssh_keys=[one["id"], "two"])
    assert api.machines.machines[server["id"]].spec.ssh_keys == (one["public_key"], two["public_key"])
    order = {"name": "b", "server_type": "cx23", "image": "debian-13", "ssh_keys": ["three"]}
    assert api.error("POST", "/servers", order) == (422, "invalid_input")
