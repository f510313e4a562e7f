"""The catalogue: each control has a sentence that is true of the stack, a check, and a way to break it."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path

import pytest

from bastide.capabilities import WORDS
from bastide.controls import CONTROLS, Control, control, count, facts, join
from bastide.errors import EvidenceError
from tests.rehearsal.sabotages import NOT_IN_THE_LAB, SABOTAGES
from tests.unit.bastide.proofs import SETTINGS, inventory

VERIFY = Path(__file__).parents[2] / "verify"
IDS = [one.id for one in CONTROLS]
RETIRED: tuple[str, ...] = ()
"""The ids of controls that were removed: nobody else gets them."""
# praise, and words that promise without a number
ADJECTIVES = (
    "secure|strong|strict|robust|modern|best|leading|state-of-the-art|enterprise|military|rigorous|fully|highly"
)


@functools.cache
def _checks() -> dict[str, list[tuple[str, ast.FunctionDef]]]:
    """Every check by control: its file's capability and its function."""
    found: dict[str, list[tuple[str, ast.FunctionDef]]] = defaultdict(list)
    for path in sorted(VERIFY.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            ids = _marked(node, "control")
            assert ids, f"{path.name}: {node.name} proves no control"
            for one in ids:
                found[one].append((path.stem.removeprefix("test_").partition("_")[0], node))
    return found


def _marked(node: ast.FunctionDef, mark: str) -> list[str]:
    calls = [item for item in node.decorator_list if isinstance(item, ast.Call)]
    calls = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == mark]
    return [ast.literal_eval(word) if mark == "control" else ast.unparse(word) for call in calls for word in call.args]


def test_ids_are_unique_and_name_a_capability() -> None:
    assert len(set(IDS)) == len(IDS)
    for one in CONTROLS:
        assert re.fullmatch(r"[a-z0-9]+-[0-9]{2}", one.id)
        assert one.capability in WORDS


@pytest.mark.parametrize("area", ["postgres", "wireguard", "dns", "storage", "alerts"])
def test_a_control_has_no_machine_in_a_stack_that_does_not_declare_what_it_speaks_of(area: str) -> None:
    # checks rely on it: `tests.verify.probes.world.declared`
    without = SETTINGS.model_copy(update={area: None})
    of = {"etcd", "postgres"} if area == "postgres" else {area}
    spoken = [one.id for one in CONTROLS if one.capability in of and one.machines(inventory(), without)]
    assert spoken == []


def test_ids_are_never_reused() -> None:
    # stable: whoever renumbers one breaks the evidence and the links of everybody
    for word in WORDS:
        numbers = [int(one.removeprefix(f"{word}-")) for one in [*IDS, *RETIRED] if re.fullmatch(f"{word}-[0-9]+", one)]
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"{word}: a number is left out or used twice"


@pytest.mark.parametrize("one", CONTROLS, ids=IDS)
def test_a_sentence_is_plain_and_filled(one: Control) -> None:
    claim = one.claim(facts(SETTINGS, inventory()))
    assert claim.endswith(".")
    assert "{" not in claim
    assert len(claim) <= 140
    for text in (claim, one.why, one.subject):
        assert not re.search(rf"\b({ADJECTIVES})\b", text, re.IGNORECASE), text
    assert one.max_age.days >= 1
    assert one.claims


@pytest.mark.parametrize("one", CONTROLS, ids=IDS)
def test_a_control_has_checks_in_the_file_of_its_capability(one: Control) -> None:
    checks = _checks()[one.id]
    assert checks, f"no check of tests/verify has the marker control({one.id!r})"
    assert {word for word, _ in checks} == {one.capability}


def test_a_check_says_what_it_looks_at_and_what_holds() -> None:
    for one, checks in _checks().items():
        assert one in IDS, f"{one} is not in the catalogue"
        for _, node in checks:
            assert len(_marked(node, "probe")) == 1, node.name
            assert (ast.get_docstring(node) or "").splitlines()[0].endswith("."), f"{node.name} says no sentence"


@pytest.mark.parametrize("one", IDS)
def test_a_control_has_a_sabotage(one: str) -> None:
    broken = [sabotage for sabotage in SABOTAGES if sabotage.control == one]
    assert bool(broken) != (one in NOT_IN_THE_LAB)


def test_sabotages_have_names_of_their_own_and_scripts_for_the_example() -> None:
    assert len({sabotage.name for sabotage in SABOTAGES}) == len(SABOTAGES)
    for sabotage in SABOTAGES:
        assert sabotage.control in IDS
        assert sabotage.says
        for script in sabotage.scripts(SETTINGS):
            assert script.strip()
            assert "{person}" not in script


def test_an_unknown_control_is_a_clear_error() -> None:
    with pytest.raises(EvidenceError, match="there is no control ssh-99"):
        control("ssh-99")


def test_facts_speak_of_what_is_declared() -> None:
    values = facts(SETTINGS, inventory())
    assert values["places"] == "Finland (Helsinki) and Germany (Falkenstein and Nuremberg)"
    assert values["sites"] == "Germany and Finland"
    assert values["people"] == "2 people"
    assert values["ports"] == "only 51820/udp can be reached"
    assert values["members"] == "3 servers and 1 device of administrators"
    none = facts(SETTINGS.model_copy(update={"wireguard": None}), inventory())
    assert none["ports"] == "no port can be reached"


def test_names_are_said_zone_by_zone_and_nothing_breaks_without_zones() -> None:
    values = facts(SETTINGS, inventory())
    assert values["names"] == "example.eu and www.example.eu"
    assert values["issuers"] == "letsencrypt.org for example.eu"
    none = facts(SETTINGS.model_copy(update={"dns": None}), inventory())
    assert control("dns-02").claim(none).endswith("certificates: nobody.")


def test_words_for_numbers_and_lists() -> None:
    assert [count(number, "person", "people") for number in (0, 1, 2)] == ["no people", "1 person", "2 people"]
    assert [join("abc"[:number]) for number in range(4)] == ["", "a", "a and b", "a, b and c"]
