"""What can be reached and where it stands: silence and declarations prove nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hcloud.firewalls.domain import FirewallRule

from tests.unit.bastide.proofs import SETTINGS as EXAMPLE
from tests.unit.bastide.proofs import inventory, with_existing
from tests.unit.deploys.box import SETTINGS
from tests.verify import test_firewall as checked_firewall
from tests.verify import test_site as checked_site
from tests.verify.probes.firewall import Scan
from tests.verify.probes.provider import Told
from tests.verify.probes.reach_pairs import PRIVATE, Knocks
from tests.verify.probes.site import Place
from tests.verify.probes.world import Observation, Output, World, now


def _observation(text: str) -> Observation:
    return Observation("command", Output(0, text), now(), 0.1)


def test_a_scan_that_was_given_up_proves_nothing() -> None:
    world: Any = type("World", (), {"inventory": type("Inventory", (), {"prober": None})})
    whole = {"tcp": 1003, "udp": 14, "alive": True}
    checked_firewall._judge(Scan(**whole, heard={}), SETTINGS, world, print)
    with pytest.raises(AssertionError, match="did not come to its end"):
        checked_firewall._judge(Scan(0, 0, True, {}), SETTINGS, world, print)


def _place(answer: str, told: Told | None = None) -> Observation:
    return Observation("command", Place(answer, told), now(), 0.1)


def test_what_is_only_declared_of_a_machine_is_no_proof() -> None:
    theirs, standby, *_ = with_existing(inventory()).machines
    for answer in ("eu-central\nfsn1-dc14", "not found\nnot found", ""):
        with pytest.raises(pytest.skip.Exception, match="that it stands in Gravelines, France, is a declaration"):
            checked_site.test_stands_where_it_was_ordered(_place(answer), theirs, print)
    with pytest.raises(AssertionError, match="does not say where"):
        checked_site.test_stands_where_it_was_ordered(_place("not found"), standby, print)


def test_the_provider_is_asked_and_not_the_machine_alone() -> None:
    machines = inventory()
    _, standby, _ = machines.machines
    own, said = "eu-central\nhel1-dc2", list[str]()
    checked_site.test_stands_where_it_was_ordered(_place(own), standby, said.append)
    assert said[0].startswith("the machine was asked; the provider's API was not asked")
    here = Told("hel1", "FI", "eu-central", (standby.address,), None)
    said.clear()
    checked_site.test_stands_where_it_was_ordered(_place(own, here), standby, said.append)
    assert said[0] == "the provider's API was asked, and the machine"
    elsewhere = replace(here, location="ash", zone="us-east")
    with pytest.raises(
        AssertionError, match="it stands in ash, which is not a location in the EU \\(the provider says so"
    ):
        checked_site.test_stands_where_it_was_ordered(_place(own, elsewhere), standby, print)
    beside, another = replace(here, location="nbg1"), replace(here, addresses=("192.0.2.1",))
    with pytest.raises(AssertionError, match="both stand in Germany \\(the provider says so\\)"):
        checked_site.test_sites_are_in_two_countries(_place(own, beside), standby, machines, print)
    with pytest.raises(AssertionError, match="has server 41 at another address"):
        checked_site.test_stands_where_it_was_ordered(_place(own, another), standby, print)


def test_a_silent_metadata_service_proves_nothing() -> None:
    theirs, standby, *_ = with_existing(inventory()).machines

    def observation(**codes: int) -> Observation:
        over_six = {"root_over_IPv6": 28, "nobody_over_IPv6": 7, "any_number_over_IPv6": 7}
        data = {
            name.replace("_", " "): Output(code, "404" if code == 0 else "")
            for name, code in {**over_six, **codes}.items()
        }
        return Observation("# probe", data, now(), 0)

    check = checked_firewall.test_metadata_answers_root_only
    with pytest.raises(pytest.skip.Exception, match="no metadata service answers on a machine of OVH"):
        check(observation(root=28, nobody=7, any_number=7), theirs, print)
    with pytest.raises(AssertionError, match="silence proves nothing"):
        check(observation(root=28, nobody=7, any_number=7), standby, print)
    with pytest.raises(AssertionError, match="an account without rights gets an answer"):
        check(observation(root=0, nobody=7, any_number=0), theirs, print)
    with pytest.raises(AssertionError, match="nobody over IPv6"):
        check(observation(root=0, nobody=7, any_number=7, root_over_IPv6=0, nobody_over_IPv6=0), theirs, print)
    check(observation(root=0, nobody=7, any_number=7), theirs, print)


def _knocks(way: str = PRIVATE, **ports: str) -> Knocks:
    states = {"tcp/40000": "filtered", "udp/40000": "filtered", **{key.replace("_", "/"): ports[key] for key in ports}}
    return Knocks("primary", way, "10.20.0.11", 40000, True, states)


def test_every_neighbour_is_judged_and_everything_that_it_reaches() -> None:
    machines = inventory()
    _, standby, _ = machines.machines
    world = World("unit", SETTINGS, machines, Path("none"))

    def check(*found: Knocks) -> None:
        observation = Observation("# probe", list(found), now(), 0)
        checked_firewall.test_neighbours_reach_nothing_undeclared(observation, SETTINGS, standby, world, print)

    check(_knocks(), _knocks("over IPv6"))
    with pytest.raises(AssertionError) as wrong:
        check(_knocks(tcp_40000="open"), _knocks(), replace(_knocks("over IPv6", udp_53="closed"), sibling="witness"))
    assert str(wrong.value).splitlines()[0] == (
        "a neighbour gets through to tcp/40000 (a fresh listener) (primary in the private network); "
        "a neighbour gets through to udp/53 (witness over IPv6)"
    )
    with pytest.raises(AssertionError, match="silence proves nothing"):
        check(replace(_knocks(), ping=False))
    # over public addresses it would be the provider's firewall which refuses
    with pytest.raises(pytest.skip.Exception, match="alone in its private network"):
        check(_knocks("over IPv6"))


def _told(*rules: tuple[str, str, str]) -> Told:
    named = [
        FirewallRule(direction="in", protocol=kind, port=port or None, source_ips=sources.split())
        for kind, port, sources in rules
    ]
    return Told("hel1", "FI", "eu-central", (), named)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (("tcp", "22", "198.51.100.10/32"), ""),
        (("icmp", "", "0.0.0.0/0"), ""),
        (("tcp", "22", "198.51.100.10/31"), "tcp/22 is open to 198.51.100.11/32"),
        (("tcp", "5432", "0.0.0.0/1 128.0.0.0/1"), "tcp/5432 is open to 0.0.0.0/0"),
        (("udp", "1-1000", "10.0.0.0/8"), "udp/1-67 is open to 10.0.0.0/8"),
        (("tcp", "any", "192.0.2.0/24"), "tcp/all is open to 192.0.2.0/24"),
    ],
)
def test_the_providers_rules_are_judged_by_what_they_cover(rule: tuple[str, str, str], says: str) -> None:
    def check(told: Told | None) -> None:
        observation = Observation("curl", told, now(), 0)
        checked_firewall.test_the_providers_firewall_over_ipv4(observation, EXAMPLE, standby, print)

    _, standby, _ = inventory().machines
    check(None)
    if says:
        with pytest.raises(AssertionError, match=f"the provider's firewall: {says}"):
            check(_told(rule))
    else:
        check(_told(rule))
    with pytest.raises(AssertionError, match="no firewall of the provider's is in force for it; the"):
        check(replace(_told(), rules=None))
