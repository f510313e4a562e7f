"""What a machine says of its mesh, from the programs' own words: never a private key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deploys.remote.facts import common, wireguard

WORDS = {
    ("wg", "show", "wg0", "public-key"): "HXltK7R/7Qt3/EWxh0I/F8V+K1hDp4GGZOG47EmnolI=\n",
    ("wg", "show", "wg0", "listen-port"): "51820\n",
    ("wg", "show", "wg0", "allowed-ips"): "kXDk=\t10.21.0.13/32\nNllH=\t10.21.0.12/32 10.21.0.99/32\nOld=\t(none)\n",
    ("wg", "show", "wg0", "endpoints"): "kXDk=\t10.20.0.13:51820\nNllH=\t(none)\n",
    ("ip", "-j", "-4", "address", "show", "dev", "wg0"): json.dumps(
        [{"addr_info": [{"local": "10.21.0.11", "prefixlen": 24}]}]
    ),
    ("ip", "-j", "route", "get", "10.20.0.13"): json.dumps([{"dst": "10.20.0.13", "dev": "enp7s0"}]),
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    asked: list[tuple[str, ...]] = []

    def out(*argv: str) -> str:
        asked.append(argv)
        assert "private-key" not in argv
        assert "dump" not in argv, "it shows the private key"
        return WORDS.get(argv, "")

    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(wireguard, "output", out)
    for name, size in (("enp7s0", 1450), ("wg0", 1370)):
        (tmp_path / "sys/class/net" / name).mkdir(parents=True)
        (tmp_path / "sys/class/net" / name / "mtu").write_text(f"{size}\n")
    return tmp_path


def test_a_running_interface_is_read(machine: Path) -> None:
    seen = wireguard.wireguard(["10.20.0.13", "192.0.2.1"])
    assert seen["sizes"] == {"10.20.0.13": 1450, "192.0.2.1": None}
    assert seen["running"] == {
        "key": "HXltK7R/7Qt3/EWxh0I/F8V+K1hDp4GGZOG47EmnolI=",
        "port": 51820,
        "size": 1370,
        "addresses": ["10.21.0.11/24"],
        "peers": {
            "kXDk=": {"allowed": ["10.21.0.13/32"], "endpoint": "10.20.0.13:51820"},
            "NllH=": {"allowed": ["10.21.0.12/32", "10.21.0.99/32"], "endpoint": "(none)"},
            "Old=": {"allowed": ["(none)"], "endpoint": ""},
        },
    }


def test_without_an_interface_nothing_runs(machine: Path) -> None:
    (machine / "sys/class/net/wg0/mtu").unlink()
    (machine / "sys/class/net/wg0").rmdir()
    assert wireguard.wireguard([])["running"] is None


@pytest.mark.parametrize("place", ["sys/module/wireguard", "modules.dep", "modules.builtin", ""])
def test_a_kernel_that_has_it_is_known(machine: Path, place: str) -> None:
    if place.startswith("modules"):
        folder = machine / "lib/modules" / os.uname().release
        folder.mkdir(parents=True)
        (folder / place).write_text("kernel/drivers/net/wireguard/wireguard.ko.xz: kernel/lib/x.ko\n")
    elif place:
        (machine / place).mkdir(parents=True)
    assert wireguard.wireguard([])["kernel"] is bool(place)
