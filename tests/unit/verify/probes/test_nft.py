"""What rules let in, as the kernel has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.verify.probes import nft


def _ruleset(*rules: list[dict[str, Any]], family: str = "inet", policy: str = "drop", hook: str = "input") -> str:
    chain = {"family": family, "table": "t", "name": "c", "hook": hook, "policy": policy, "type": "filter", "prio": 0}
    items = [{"rule": {"family": family, "table": "t", "chain": "c", "expr": rule}} for rule in rules]
    return json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, *items]})


def _match(left: dict[str, Any], right: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


ACCEPT: dict[str, Any] = {"accept": None}


DROP: dict[str, Any] = {"drop": None}


LOOPBACK = [_match({"meta": {"key": "iif"}}, "lo"), ACCEPT]


SSH = [_match({"payload": {"protocol": "tcp", "field": "dport"}}, 22), ACCEPT]


ALL_SIX = [_match({"meta": {"key": "nfproto"}}, "ipv6"), ACCEPT]


PINGS_OF_PEERS = [
    _match({"payload": {"protocol": "ip", "field": "saddr"}}, "@peers4"),
    _match({"payload": {"protocol": "icmp", "field": "type"}}, "echo-request"),
    ACCEPT,
]


ANYWHERE = [
    _match({"payload": {"protocol": "ip", "field": "saddr"}}, {"prefix": {"addr": "0.0.0.0", "len": 0}}),
    ACCEPT,
]


@pytest.mark.parametrize(
    ("text", "four", "six"),
    [
        (_ruleset(LOOPBACK, SSH), True, True),
        (_ruleset(SSH, policy="accept"), False, False),
        (_ruleset(SSH, [DROP], policy="accept"), True, True),
        (_ruleset(SSH, family="ip"), True, False),
        (_ruleset(SSH, family="ip6"), False, True),
        (_ruleset(SSH, hook="forward"), False, False),
    ],
)
def test_default_deny_is_seen_for_each_family(text: str, four: bool, six: bool) -> None:
    chains = nft.parse(text)
    assert nft.drops_by_default(chains, "input", "ip") is four
    assert nft.drops_by_default(chains, "input", "ip6") is six


@pytest.mark.parametrize(
    ("rule", "four", "six"),
    [
        (SSH, False, False),
        (LOOPBACK, False, False),
        ([ACCEPT], True, True),
        (ALL_SIX, False, True),
        (ANYWHERE, True, False),
        ([_match({"meta": {"key": "l4proto"}}, "tcp"), ACCEPT], True, True),
        ([_match({"meta": {"key": "iifname"}}, "eth0"), ACCEPT], True, True),
        ([_match({"ct": {"key": "state"}}, ["established", "new"]), ACCEPT], True, True),
        ([_match({"ct": {"key": "state"}}, ["established", "related"]), ACCEPT], False, False),
        ([_match({"payload": {"protocol": "tcp", "field": "dport"}}, {"range": [1, 65535]}), ACCEPT], True, True),
        (
            [{"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, ACCEPT],
            True,
            True,
        ),
        ([{"jump": {"target": "open"}}], True, True),
        ([{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"accept": None}]]}}}], True, True),
        ([_match({"payload": {"protocol": "icmpv6", "field": "type"}}, "echo-request"), ACCEPT], False, False),
        (PINGS_OF_PEERS, False, False),
    ],
)
def test_a_rule_that_lets_everything_in_is_seen(rule: list[dict[str, Any]], four: bool, six: bool) -> None:
    chains = nft.parse(_ruleset(LOOPBACK, rule))
    assert nft.accepts_everything(chains, "input", "ip") is four
    assert nft.accepts_everything(chains, "input", "ip6") is six


def test_a_second_chain_that_drops_still_counts() -> None:
    one = json.loads(_ruleset([ACCEPT]))["nftables"]
    two = json.loads(_ruleset(SSH).replace('"t"', '"u"'))["nftables"]
    chains = nft.parse(json.dumps({"nftables": [*one, *two]}))
    assert not nft.accepts_everything(chains, "input", "ip")


def test_a_dropped_address_is_found() -> None:
    rule = [_match({"payload": {"protocol": "ip", "field": "daddr"}}, "169.254.169.254"), DROP]
    chains = nft.parse(_ruleset(rule, hook="forward"))
    assert not nft.lets_through(chains, "forward", "169.254.169.254")
    assert nft.lets_through(chains, "output", "169.254.169.254")


def test_whoever_is_let_through_before_the_drop_is_seen() -> None:
    def to(address: str) -> dict[str, Any]:
        return _match({"payload": {"protocol": "ip", "field": "daddr"}}, address)

    def asked(*rules: list[dict[str, Any]]) -> bool:
        chains = nft.parse(_ruleset(*rules, [to("169.254.169.254"), DROP], hook="output", policy="accept"))
        return nft.lets_through(chains, "output", "169.254.169.254")

    by = {"meta": {"key": "skuid"}}
    assert not asked([to("169.254.169.254"), _match(by, 0), ACCEPT], [to("192.0.2.1"), ACCEPT])
    assert asked([to("169.254.169.254"), _match(by, 33), ACCEPT])
    assert asked([_match({"meta": {"key": "mark"}}, 1), {"jump": {"target": "more"}}])
    assert asked([_match({"payload": {"protocol": "tcp", "field": "dport"}}, 80), ACCEPT])


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"redirect": {"port": 5432}}, "redirect to 5432"),
        ({"redirect": None}, "redirect"),
        ({"dnat": {"family": "ip", "addr": "10.20.0.12", "port": 80}}, "dnat to 10.20.0.12, 80"),
        ({"dnat": {"addr": {"map": {"key": {}, "data": "@ways"}}}}, "dnat"),
        ({"masquerade": None}, "masquerade"),
        ({"tproxy": {"port": 1}}, "tproxy to 1"),
        ({"dup": {"addr": "192.0.2.1", "dev": "eth0"}}, "dup to 192.0.2.1, eth0"),
        ({"xt": {"type": "target", "name": "REDIRECT"}}, "redirect"),
        ({"xt": {"type": "match", "name": "tcp"}}, ""),
        ({"xt": None}, "a rule of iptables"),
        ({"mangle": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "value": 5432}}, "another dport"),
        ({"mangle": {"key": {"payload": {"base": "th", "offset": 16, "len": 16}}, "value": 1}}, "another part of it"),
        ({"mangle": {"key": {"payload": {"protocol": "ip", "field": "dscp"}}, "value": 1}}, ""),
        ({"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}, ""),
        (ACCEPT, ""),
    ],
)
def test_a_rule_that_leads_packets_elsewhere_is_named(part: dict[str, Any], says: str) -> None:
    # in a chain that is jumped to, where no base chain tells of NAT
    text = json.dumps(
        {"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [SSH[0], part]}} for _ in "12"]}
    )
    assert nft.led_elsewhere(text) == ([f"{says} in ip t c"] * 2 if says else [])


def test_no_rules_are_a_failure_and_no_crash() -> None:
    with pytest.raises(AssertionError, match="nft says nothing"):
        nft.parse("sh: nft: not found")
