"""The checks of the mesh: what each wrong way makes them say, and that their scripts are Python."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bastide.machines import Machine
from bastide.settings import Settings
from tests.unit.deploys.box import MACHINES, SETTINGS
from tests.verify import test_firewall as checked_firewall
from tests.verify import test_wireguard as checked
from tests.verify.probes import nft
from tests.verify.probes import wireguard as mesh
from tests.verify.probes.reach import Knock
from tests.verify.probes.wireguard import Roster, Strange
from tests.verify.probes.world import Observation, now

PRIMARY: Machine = MACHINES[0]
DEVICE = SETTINGS.wireguard.administrators["anna"].key if SETTINGS.wireguard else ""
SAID: list[str] = []


def observation(data: Any) -> Observation:
    return Observation("command", data, now(), 0.1)


def crossed(**changed: Any) -> Observation:
    others = ["10.21.0.12", "10.21.0.13"]
    ages = dict.fromkeys(others, 12.0)
    return observation({"tunnel": others, "plain": [], "sealed": others, "answers": others, "ages": ages, **changed})


def test_what_crosses_encrypted_is_proven() -> None:
    checked.test_nothing_leaves_in_the_open(crossed(), SETTINGS, PRIMARY, note=SAID.append)
    checked.test_every_server_answers_over_the_mesh(crossed(), SETTINGS, PRIMARY, MACHINES, note=SAID.append)
    assert "oldest handshake 12 s ago" in SAID[-1]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"plain": [["10.21.0.12", "eth0"]]}, r"a message leaves in the open: to standby \(eth0\)"),
        ({"tunnel": ["10.21.0.12"]}, "no message to witness goes into the tunnel"),
        ({"sealed": ["10.21.0.13"]}, "no encrypted packet goes to standby"),
    ],
)
def test_what_leaves_otherwise_is_seen(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        checked.test_nothing_leaves_in_the_open(crossed(**changed), SETTINGS, PRIMARY, note=SAID.append)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"answers": ["10.21.0.12"]}, "no answer over the mesh from witness"),
        ({"ages": {"10.21.0.12": 5.0, "10.21.0.13": 1e9}}, "the answer of witness came another way"),
    ],
)
def test_a_silent_server_is_seen(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        checked.test_every_server_answers_over_the_mesh(
            crossed(**changed), SETTINGS, PRIMARY, MACHINES, note=SAID.append
        )


def members(**changed: list[str]) -> dict[str, list[str]]:
    return {"S": ["10.21.0.12/32"], "W": ["10.21.0.13/32"], DEVICE: ["10.21.0.101/32"], **changed}


@pytest.mark.parametrize(
    ("peers", "says"),
    [
        (members(S=["0.0.0.0/0"]), "a peer that nobody declared may send as 0.0.0.0/0"),
        (members(S=["10.21.0.12/32", "10.21.0.13/32"]), "may send as 10.21.0.12/32, 10.21.0.13/32"),
        (members(X=["10.21.0.66/32"]), "nobody declared may send as 10.21.0.66/32"),
        ({key: value for key, value in members().items() if key != "W"}, "not in the mesh: witness"),
        (members(**{"S": ["10.21.0.13/32"], "W": ["10.21.0.12/32"]}), "standby is known by another key than its own"),
        ({"S": ["10.21.0.12/32"], "W": ["10.21.0.13/32"], "A": ["10.21.0.101/32"]}, "anna is known by another key"),
    ],
)
def test_undeclared_members_are_seen(peers: dict[str, list[str]], says: str) -> None:
    keys = {"primary": "P", "standby": "S", "witness": "W"}
    with pytest.raises(AssertionError, match=says):
        checked.test_only_the_declared_are_in_the_mesh(
            observation(Roster({"peers": peers, "kept": peers}, keys)), SETTINGS, PRIMARY, note=SAID.append
        )
    found = observation(Roster({"peers": members(), "kept": members()}, keys))
    checked.test_only_the_declared_are_in_the_mesh(found, SETTINGS, PRIMARY, note=SAID.append)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no file with its key"),
        ({"/etc/wireguard/wg0.conf": ["0o640", "root", "adm"]}, r"others can read /etc/wireguard/wg0.conf \(0o640\)"),
        ({"/etc/wireguard/wg0.conf": ["0o600", "anna", "anna"]}, "belongs to anna"),
    ],
)
def test_a_private_key_of_more_than_root_is_seen(files: dict[str, list[str]], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        checked.test_private_keys_are_roots_alone(observation(Roster({"files": files}, {})), note=SAID.append)


def test_an_answer_to_a_stranger_is_seen_and_a_dead_host_proves_nothing() -> None:
    with pytest.raises(AssertionError, match=r"a stranger gets an answer from UDP 51820: 192.0.2.1: 92 bytes"):
        checked.test_strangers_get_no_answer(
            observation(Strange({"192.0.2.1": ["92 bytes"]}, {"192.0.2.1": True})), SETTINGS, note=SAID.append
        )
    with pytest.raises(AssertionError, match="silence proves nothing"):
        checked.test_strangers_get_no_answer(
            observation(Strange({"192.0.2.1": []}, {"192.0.2.1": False})), SETTINGS, note=SAID.append
        )


def test_an_open_port_in_the_mesh_is_seen() -> None:
    with pytest.raises(AssertionError, match=r"gets through to 22, 4242 \(a fresh listener\)"):
        checked.test_the_mesh_opens_no_undeclared_port(
            observation(Knock(4242, True, {4242: "open", 22: "closed", 443: "open"})), SETTINGS, note=SAID.append
        )
    checked.test_the_mesh_opens_no_undeclared_port(
        observation(Knock(4242, True, {4242: "filtered", 443: "open"})), SETTINGS, note=SAID.append
    )


def rules(*found: list[dict[str, Any]]) -> list[nft.Chain]:
    return [nft.Chain("inet", "input", "drop", "filter", list(found))]


def forged(interfaces: Any, network: str = "10.21.0.0", op: str = "!=") -> list[dict[str, Any]]:
    source = {"prefix": {"addr": network, "len": 24}}
    return [
        {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": source}},
        {"match": {"op": op, "left": {"meta": {"key": "iifname"}}, "right": interfaces}},
        {"drop": None},
    ]


ESTABLISHED: list[dict[str, Any]] = [
    {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established"]}},
    {"accept": None},
]


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (rules(forged({"set": ["lo", "wg0"]}), ESTABLISHED), True),
        (rules(forged("wg0")), True),
        (rules(ESTABLISHED, forged({"set": ["lo", "wg0"]})), False),
        (rules(forged({"set": ["lo", "wg0", "eth0"]})), False),
        (rules(forged("wg0", op="==")), False),
        (rules(forged("wg0", network="10.22.0.0")), False),
        (rules(), False),
    ],
)
def test_forged_addresses_are_dropped_before_anything_is_let_in(found: list[nft.Chain], holds: bool) -> None:
    assert nft.drops_forged(found, "10.21.0.0/24", "wg0") is holds


@pytest.mark.parametrize(
    ("open_to", "address", "open_"),
    [
        ("operators", "198.51.100.10", True),
        ("operators", "203.0.113.9", False),
        ("anywhere", "203.0.113.9", True),
        ("vpn", "198.51.100.10", False),
    ],
)
def test_ssh_that_is_open_to_the_mesh_is_open_to_no_operators_network(open_to: Any, address: str, open_: bool) -> None:
    settings: Settings = SETTINGS.model_copy(update={"ssh": SETTINGS.ssh.model_copy(update={"open_to": open_to})})
    assert checked_firewall._ssh_is_open(settings, address) is open_


@pytest.mark.parametrize("text", [mesh._CROSSING, mesh._STRANGER, mesh._STATE])
def test_the_scripts_are_python(text: str) -> None:
    compile(text, "script", "exec")
    assert "private" not in json.dumps(text)
