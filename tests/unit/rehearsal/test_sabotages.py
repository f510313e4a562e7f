"""Which sabotages are done together."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

from bastide.controls import control
from tests.rehearsal.sabotages import SABOTAGES, Sabotage
from tests.rehearsal.sabotages.model import ANY, STANDBY, WITNESS
from tests.rehearsal.sabotages.rounds import rounds
from tests.unit.bastide.proofs import SETTINGS, inventory


def _wrong(control_id: str, what: str, machines: tuple[str, ...] = ANY, **more: Any) -> Sabotage:
    return Sabotage(control_id, what, "says", "true", "true", machines, **more)


def _names(sabotages: list[Sabotage]) -> list[list[str]]:
    return [[f"{one.what} on {one.machine}" for one in together] for together in rounds(sabotages)]


def test_each_is_in_exactly_one_round() -> None:
    placed = Counter(one.name for together in rounds(SABOTAGES) for one in together)
    assert placed == Counter(one.name for one in SABOTAGES)


def test_rounds_are_the_same_each_time() -> None:
    assert rounds(SABOTAGES) == rounds(list(SABOTAGES))


def test_no_two_of_a_round_share_a_row_or_what_they_touch() -> None:
    for together in rounds(SABOTAGES):
        for one, other in combinations(together, 2):
            assert not one.alone
            assert not set(one.everywhere) & set(other.everywhere)
            if one.machine == other.machine:
                assert one.control != other.control
                assert not set(one.touches) & set(other.touches)


def test_their_controls_are_proven_wherever_they_may_be_done() -> None:
    for sabotage in SABOTAGES:
        proven = {machine.name for machine in control(sabotage.control).machines(inventory(), SETTINGS)}
        assert set(sabotage.machines) <= proven, sabotage.name


def test_another_machine_is_taken_before_another_round_is() -> None:
    assert _names([_wrong("a-01", "one"), _wrong("a-01", "two"), _wrong("a-01", "three"), _wrong("a-01", "four")]) == [
        ["one on standby", "two on primary", "three on witness"],
        ["four on standby"],
    ]


def test_what_is_touched_counts_on_its_machine_or_everywhere() -> None:
    file = [_wrong(f"a-0{n}", f"file {n}", STANDBY + WITNESS, touches=("file",)) for n in (1, 2, 3)]
    leader = [_wrong(f"b-0{n}", f"leader {n}", everywhere=("leader",)) for n in (1, 2)]
    assert _names(file + leader) == [
        ["file 1 on standby", "file 2 on witness", "leader 1 on standby"],
        ["file 3 on standby", "leader 2 on standby"],
    ]


def test_one_that_is_alone_has_a_round_of_its_own() -> None:
    assert _names([_wrong("a-01", "cut", alone="no way to it"), _wrong("b-01", "other")]) == [
        ["other on standby"],
        ["cut on standby"],
    ]
