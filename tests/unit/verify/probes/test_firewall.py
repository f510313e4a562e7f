"""What can be reached and where it stands: silence and declarations prove nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bastide.proofs import inventory, with_existing
from tests.unit.deploys.box import SETTINGS
from tests.verify import test_firewall as checked_firewall
from tests.verify import test_site as checked_site
from tests.verify.probes.firewall import Scan
from tests.verify.probes.world import Observation, Output, World, now


def _observation(text: str) -> Observation:
    return Observation("command", Output(0, text), now(), 0.1)


def test_a_scan_that_was_given_up_proves_nothing() -> None:
    world: Any = type("World", (), {"inventory": type("Inventory", (), {"prober": None})})
    whole = {"tcp": 1003, "udp": 14, "alive": True}
    checked_firewall._judge(Scan(**whole, heard={}), SETTINGS, world, print)
    with pytest.raises(AssertionError, match="did not come to its end"):
        checked_firewall._judge(Scan(0, 0, True, {}), SETTINGS, world, print)


def test_what_is_only_declared_of_a_machine_is_no_proof() -> None:
    theirs, standby, *_ = with_existing(inventory()).machines
    for answer in ("eu-central\nfsn1-dc14", "not found\nnot found", ""):
        with pytest.raises(pytest.skip.Exception, match="that it stands in Gravelines, France, is a declaration"):
            checked_site.test_stands_where_it_was_ordered(_observation(answer), theirs, print)
    with pytest.raises(AssertionError, match="does not say where"):
        checked_site.test_stands_where_it_was_ordered(_observation("not found"), standby, print)


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


def test_a_neighbour_knocks_past_the_providers_firewall() -> None:
    """Over the public address it would be that firewall which refuses."""
    machines = with_existing(inventory())
    primary, standby, witness = machines.machines
    world = World("unit", SETTINGS, machines, Path("none"))
    assert [world.sibling(one) for one in machines] == [standby, witness, standby]
    alone = World("unit", SETTINGS, replace(machines, machines=(primary, standby)), Path("none"))
    assert [alone.sibling(one) for one in (primary, standby)] == [standby, None]
    with pytest.raises(pytest.skip.Exception, match="alone in its private network"):
        checked_firewall.test_neighbour_reaches_nothing_undeclared(
            Observation("# probe", None, now(), 0), SETTINGS, standby, alone, print
        )
