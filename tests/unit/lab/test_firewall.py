"""The router's rule text: what a cloud firewall becomes, and that the seal is in every rule file."""

from __future__ import annotations

import shutil

import pytest

from bastide.console import run
from lab.backend import FirewallRule
from lab.machines.firewall import Port, router_rules
from lab.machines.seal import host_rules
from lab.place import Place

EVERYWHERE = ("0.0.0.0/0", "::/0")


def rules_of(*rules: FirewallRule, ports: int = 1) -> str:
    found = [
        Port(f"m{number}", f"198.18.0.{number}", f"2001:db8:0:{number}::/64", rules) for number in range(1, ports + 1)
    ]
    return router_rules(found, ["192.0.2.53"], [("172.31.1.10", 80)])


def chain(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    start = lines.index(f"chain {name} {{")
    return lines[start + 1 : lines.index("}", start)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            FirewallRule("in", "tcp", "22", EVERYWHERE),
            ["meta nfproto ipv4 tcp dport 22 return", "meta nfproto ipv6 tcp dport 22 return"],
        ),
        (FirewallRule("in", "udp", "80-85", ("192.0.2.0/24",)), ["ip saddr { 192.0.2.0/24 } udp dport 80-85 return"]),
        (
            FirewallRule("in", "tcp", "", ("2001:db8::1/128",)),
            ["ip6 saddr { 2001:db8::1/128 } meta l4proto tcp return"],
        ),
        (
            FirewallRule("in", "icmp", "", ("192.0.2.1/32",)),
            ["ip saddr { 192.0.2.1/32 } meta l4proto { icmp, ipv6-icmp } return"],
        ),
        (FirewallRule("in", "gre", "", ("192.0.2.1/32",)), ["ip saddr { 192.0.2.1/32 } meta l4proto gre return"]),
        # overlapping ranges are merged: nft refuses them in one set
        (
            FirewallRule("in", "tcp", "1", ("10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8")),
            ["ip saddr { 10.0.0.0/7 } tcp dport 1 return"],
        ),
        (FirewallRule("in", "tcp", "22", ()), []),
    ],
)
def test_a_rule_becomes_this(rule: FirewallRule, expected: list[str]) -> None:
    assert chain(rules_of(rule), "in_m1") == [*expected, "drop"]


def test_no_firewall_means_no_chain_and_an_empty_one_means_drop() -> None:
    text = router_rules([Port("m1", "198.18.0.1", "", None)], ["192.0.2.53"], [])
    assert "in_m1" not in text
    assert chain(rules_of(), "in_m1") == ["drop"]


def test_outbound_is_free_until_there_is_an_outbound_rule() -> None:
    assert "out_m1" not in rules_of(FirewallRule("in", "tcp", "22", EVERYWHERE))
    text = rules_of(FirewallRule("out", "tcp", "443", ("192.0.2.0/24",)))
    assert chain(text, "out_m1") == ["ip daddr { 192.0.2.0/24 } tcp dport 443 return", "drop"]
    # what stands for the internet (resolver, mirrors) is behind the same rules
    assert 'iifname "m1" jump out_m1' in chain(text, "input")


def test_the_seal_and_the_defaults_are_in_every_rule_file() -> None:
    for text in (rules_of(), router_rules([], ["192.0.2.53"], [])):
        assert text.startswith("table inet lab\ndelete table inet lab\n")
        for name in ("forward", "input"):
            assert "policy drop" in chain(text, name)[0]
        forward = chain(text, "forward")
        # before anything that accepts new connections
        assert forward[1:5] == ["jump cut", *forward[2:4], 'oifname "up0" drop']
        assert forward[2:4] == ["ct state invalid drop", "ct state established,related accept"]
        assert 'iifname "up0" drop' in chain(text, "input")


def test_host_side_of_the_seal_comes_before_other_tables_and_drops_last() -> None:
    text = host_rules(Place("x", "lab12345", 0))
    assert "priority filter - 10" in text
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index("chain input {") + 5] == "drop"
    assert 'iifname "bl-lab12345" drop' in lines
    assert 'oifname "bl-lab12345" drop' in lines


@pytest.mark.skipif(not shutil.which("nft"), reason="no nft here")
def test_nft_takes_every_kind_of_rule() -> None:
    every = [
        FirewallRule(direction, protocol, port, networks)
        for direction in ("in", "out")
        for protocol, port in (("tcp", "22"), ("udp", "1-9"), ("tcp", ""), ("icmp", ""), ("esp", ""), ("gre", ""))
        for networks in (EVERYWHERE, ("192.0.2.0/24", "2001:db8::/32"))
    ]
    # a namespace of its own, in a user namespace where this runs without root
    done = run(["unshare", "--map-root-user", "--net", "nft", "-f", "-"], input=rules_of(*every, ports=3), check=False)
    if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.ok, done.stderr


def test_services_are_reached_by_machines_and_the_host_at_their_ports_only() -> None:
    text = router_rules([], ["192.0.2.53"], [], [("198.18.0.4", "tcp", 9000), ("2001:db8:0:4::1", "udp", 53)])
    lines = chain(text, "input")
    closed = lines.index('iifname "up0" drop')
    for match in ("ip daddr 198.18.0.4 tcp dport 9000", "ip6 daddr 2001:db8:0:4::1 udp dport 53"):
        assert lines.index(f'iifname "up0" {match} accept') < closed < lines.index(f"{match} accept")
