"""Whom a ruleset lets in, worked out from the rules as `nft -j list ruleset` prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.verify.openings import Area, areas, described, everything, without
from tests.verify.probes import nft_open

ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
HALVES = [{"prefix": {"addr": "0.0.0.0", "len": 1}}, {"prefix": {"addr": "128.0.0.0", "len": 1}}]


def _match(left: dict[str, Any], right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def _field(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def _meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


PORT = _field("tcp", "dport")


def _tcp(port: object) -> dict[str, Any]:
    return _match(_field("tcp", "dport"), port)


def _from(source: object, op: str = "==") -> dict[str, Any]:
    return _match(_field("ip", "saddr"), source, op)


def _open(*rules: list[dict[str, Any]], protocol: str = "tcp", interface: str = "", more: Any = ()) -> list[str]:
    """What these rules let in over IPv4, in a chain that drops by default."""
    chain = {"family": "inet", "table": "t", "name": "c", "hook": "input", "policy": "drop", "type": "filter"}
    items = [{"rule": {"family": "inet", "table": "t", "chain": "c", "expr": rule}} for rule in rules]
    text = json.dumps({"nftables": [{"chain": chain}, *more, *items]})
    packets = nft_open.Packets("ip", protocol, interface)
    return described(nft_open.let_in(nft_open.read(text), packets), protocol, "ip")


def _set(name: str, *elements: object) -> dict[str, Any]:
    return {"set": {"family": "inet", "table": "t", "name": name, "elem": list(elements)}}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([[_tcp(22), ACCEPT]], ["tcp/22 is open to 0.0.0.0/0"]),
        ([[_from({"set": HALVES}), _tcp(22), ACCEPT]], ["tcp/22 is open to 0.0.0.0/0"]),
        ([[_from("@halves"), ACCEPT]], ["tcp/all is open to 0.0.0.0/0"]),
        ([[_from("10.9.0.1"), _tcp({"range": [1, 65535]}), ACCEPT]], ["tcp/1-65535 is open to 10.9.0.1/32"]),
        ([[_from(HALVES[1], "!="), _tcp(22), ACCEPT]], ["tcp/22 is open to 0.0.0.0/1"]),
        ([[_tcp(22), DROP], [_tcp({"range": [22, 23]}), ACCEPT]], ["tcp/23 is open to 0.0.0.0/0"]),
        # what is not known here lets in, and turns nobody away
        ([[_match({"socket": {"key": "mark"}}, 1), _tcp(22), ACCEPT]], ["tcp/22 is open to 0.0.0.0/0"]),
        ([[_match(_meta("mark"), 1), DROP], [_tcp(22), ACCEPT]], ["tcp/22 is open to 0.0.0.0/0"]),
        ([[{"limit": {"rate": 1}}, DROP], [_tcp(22), ACCEPT]], ["tcp/22 is open to 0.0.0.0/0"]),
        ([[_match({"ct": {"key": "state"}}, ["untracked"], "in"), ACCEPT]], ["tcp/all is open to 0.0.0.0/0"]),
        ([[_match(_meta("iifname"), "eth0"), ACCEPT]], ["tcp/all is open to 0.0.0.0/0"]),
        # of other packets
        ([[_match(_meta("iif"), "lo"), ACCEPT]], []),
        ([[_match(_meta("iifname"), "wg0"), ACCEPT]], []),
        ([[_match(_meta("nfproto"), "ipv6"), ACCEPT]], []),
        ([[_match({"ct": {"key": "state"}}, ["established", "related"], "in"), ACCEPT]], []),
        ([[_match(_field("udp", "dport"), 22), ACCEPT]], []),
        ([[_match(_field("icmp", "type"), "echo-request"), ACCEPT]], []),
        ([[_match(_meta("l4proto"), "udp"), ACCEPT]], []),
        # chains that are jumped to
        ([[_from("10.9.0.1"), {"jump": {"target": "more"}}]], ["tcp/80 is open to 10.9.0.1/32"]),
        ([[{"goto": {"target": "more"}}], [_tcp(22), ACCEPT]], ["tcp/80 is open to 0.0.0.0/0"]),
        ([[{"vmap": {"key": PORT, "data": {"set": [[22, ACCEPT]]}}}]], ["tcp/all is open to 0.0.0.0/0"]),
        ([[{"vmap": {"key": PORT, "data": {"set": [[22, DROP]]}}}]], []),
    ],
)  # fmt: skip
def test_what_a_rule_lets_in(rules: list[list[dict[str, Any]]], says: list[str]) -> None:
    more = [
        _set("halves", *HALVES),
        {"chain": {"family": "inet", "table": "t", "name": "more"}},
        {"rule": {"family": "inet", "table": "t", "chain": "more", "expr": [_tcp(80), ACCEPT]}},
    ]
    assert _open(*rules, more=more) == says


def test_the_mesh_is_an_interface_of_its_own() -> None:
    rules = [[_match(_meta("iifname"), "wg0"), _from("10.21.0.11"), _tcp(2379), ACCEPT]]
    assert _open(*rules, interface="wg0") == ["tcp/2379 is open to 10.21.0.11/32"]
    outside = [[_from("10.21.0.11"), _match(_meta("iifname"), {"set": ["lo", "wg0"]}, "!="), DROP], [_tcp(22), ACCEPT]]
    assert _open(*outside, interface="wg0") == ["tcp/22 is open to 0.0.0.0/0"]


def test_two_chains_must_both_let_it_in_and_a_list_of_the_banned_closes_nothing() -> None:
    first = {"family": "ip", "table": "u", "name": "d", "hook": "prerouting", "policy": "accept", "type": "filter"}
    narrow = [
        {"rule": {"family": "ip", "table": "u", "chain": "d", "expr": rule}}
        for rule in ([_from("10.9.0.1"), _tcp(22), ACCEPT], [DROP])
    ]
    assert _open([_tcp(22), ACCEPT], more=[{"chain": first}, *narrow]) == ["tcp/22 is open to 10.9.0.1/32"]
    banned = [{"rule": {"family": "ip", "table": "u", "chain": "d", "expr": [_from("192.0.2.1"), DROP]}}]
    assert _open([_tcp(22), ACCEPT], more=[{"chain": first}, *banned]) == ["tcp/22 is open to 0.0.0.0/0"]
    with pytest.raises(AssertionError, match="nft says nothing"):
        nft_open.read("sh: nft: not found")


def test_areas_are_compared_by_what_they_cover() -> None:
    every = everything("ip")
    whole = areas([every], [(22, 22)])
    assert without(areas([(0, 2**31 - 1), (2**31, 2**32 - 1)], [(22, 22)]), whole) == []
    assert without(areas([every], [(21, 22)]), whole) == [Area(every, (21, 21))]
