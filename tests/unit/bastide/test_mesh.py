"""Keys of the mesh, the way to machines that are in it, and what joins a device to it."""

from __future__ import annotations

import base64
import io
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretBytes

from bastide import mesh
from bastide.errors import BastideError
from bastide.open_ports import open_ports, opened
from bastide.secrets import Keyring
from bastide.settings import Settings
from hosts.commands import vpn
from hosts.stack import Stack
from hosts.transport import ssh_address
from tests.unit.deploys.box import MACHINES, SETTINGS

RING = Keyring("unit", {"v1": SecretBytes(bytes(32))})
STACK = Stack("unit", Path(), SETTINGS, MACHINES, RING)
MESH = mesh.mesh_of(SETTINGS) or pytest.fail("no mesh")


def with_ssh(open_to: str) -> Settings:
    return SETTINGS.model_copy(update={"ssh": SETTINGS.ssh.model_copy(update={"open_to": open_to})})


def test_a_public_key_is_computed_as_rfc_7748_has_it() -> None:
    """Section 5.2: the first iteration, where the scalar is 9 and the point is the base."""
    scalar = bytes([9]) + bytes(31)
    pair = mesh._pair(X25519PrivateKey.from_private_bytes(mesh._clamped(scalar)))
    wanted = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert base64.b64decode(pair.public).hex() == wanted
    stored = base64.b64decode(pair.private.get_secret_value())
    assert (stored[0], stored[31]) == (8, 0x40), "clamped, as `wg genkey` writes it"


def test_a_pair_does_not_show_its_private_half() -> None:
    pair = mesh.machine_key(RING, MACHINES[0])
    assert pair.private.get_secret_value() not in repr(pair)
    assert mesh.machine_keys(RING, MACHINES[0]) == {pair.public: pair}


def test_the_list_of_open_ports_is_one() -> None:
    assert [(one.port, one.protocol, one.reach) for one in opened(SETTINGS)] == [(51820, "udp", "anywhere")]
    assert open_ports(SETTINGS) == {("tcp", 443), ("udp", 3478), ("udp", 51820)}
    assert open_ports(SETTINGS) <= open_ports(SETTINGS, in_mesh=True)


class Line:
    """A datagram socket of a computer that would send from this address; "" for one without a route."""

    def __init__(self, own: str) -> None:
        self.own = own

    def __call__(self, *words: object) -> Line:
        return self

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *words: object) -> None:
        pass

    def connect(self, target: object) -> None:
        if not self.own:
            raise OSError("no route")

    def getsockname(self) -> tuple[str, int]:
        return self.own, 1

    def send(self, *words: object) -> None:
        pytest.fail("something was sent")


@pytest.mark.parametrize(
    ("own", "open_to", "wanted"),
    [
        ("10.21.0.101", "vpn", ("10.21.0.11", "198.18.0.11")),
        ("10.21.0.101", "operators", ("198.18.0.11", "10.21.0.11")),
        # some other network has the same range: nothing is sent there
        ("10.21.0.7", "vpn", ("198.18.0.11",)),
        ("198.51.100.10", "operators", ("198.18.0.11",)),
        ("", "vpn", ("198.18.0.11",)),
    ],
)
def test_an_address_of_the_mesh_is_tried_from_inside_only(
    monkeypatch: pytest.MonkeyPatch, own: str, open_to: str, wanted: tuple[str, ...]
) -> None:
    monkeypatch.setattr(socket, "socket", Line(own))
    assert ssh_address.ssh_addresses(with_ssh(open_to), MACHINES[0]) == wanted


def test_without_a_mesh_nobody_is_in_it() -> None:
    none = SETTINGS.model_copy(update={"wireguard": None})
    assert not ssh_address.in_mesh(none)
    assert not ssh_address.comes_over_mesh(none, "10.21.0.101")
    assert ssh_address.comes_over_mesh(SETTINGS, "10.21.0.101")


def shown(monkeypatch: pytest.MonkeyPatch, person: str, *, make_key: bool = False, **settings: Any) -> tuple[str, str]:
    stack = Stack("unit", Path(), SETTINGS.model_copy(update=settings), MACHINES, RING)
    monkeypatch.setattr(vpn, "load_stack", lambda name, root: stack)
    out, tell = io.StringIO(), io.StringIO()
    vpn.show("unit", Path(), person, make_key=make_key, out=out, tell=tell)
    return out.getvalue(), tell.getvalue()


def test_a_file_has_a_place_for_the_private_key_and_one_address_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    text, told = shown(monkeypatch, "anna")
    assert f"Address = 10.21.0.101/32\nPrivateKey = {vpn.PLACE}\n" in text
    assert [line for line in text.splitlines() if "AllowedIPs" in line] == [
        f"AllowedIPs = 10.21.0.{number}/32" for number in (11, 12, 13)
    ]
    assert f"Endpoint = {MACHINES[0].address}:51820\nPersistentKeepalive = 25\n" in text
    assert mesh.machine_key(RING, MACHINES[1]).public in text
    assert "next: put the device's private key" in told


def test_a_key_that_is_made_here_is_in_the_file_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text, told = shown(monkeypatch, "bruno", make_key=True)
    private = next(line for line in text.splitlines() if line.startswith("PrivateKey")).split(" = ")[1]
    public = next(line for line in told.splitlines() if "key: " in line).split(": ")[1]
    secret = X25519PrivateKey.from_private_bytes(base64.b64decode(private))
    assert base64.b64encode(secret.public_key().public_bytes_raw()).decode() == public
    assert private not in told
    assert "▀" in told
    assert "address: 10.21.0.102\n" in told, "anna has the first one"
    assert list(tmp_path.iterdir()) == []


def test_a_new_key_of_somebody_known_keeps_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = shown(monkeypatch, "anna", make_key=True)
    assert "address: 10.21.0.101\n" in told
    assert "the device that anna has until now is out with that" in told


@pytest.mark.parametrize(
    ("person", "settings", "says"),
    [
        ("bruno", {}, "bruno is no administrator"),
        ("", {}, "whose device is it"),
        ("anna", {"wireguard": None}, "has no mesh"),
    ],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, person: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(BastideError, match=says) as caught:
        shown(monkeypatch, person, **settings)
    assert caught.value.hint


def test_a_full_mesh_is_said() -> None:
    small = mesh.Mesh("10.21.0.8/30", 51820, {"a": "10.21.0.9"}, {"b": "10.21.0.10"})
    with pytest.raises(BastideError, match="is taken"):
        vpn.free_address(small)
