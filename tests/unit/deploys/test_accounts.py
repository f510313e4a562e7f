"""From what a machine says about its accounts to the commands: data in tests/unit/deploys/data/accounts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploys.operations.accounts import (
    Roster,
    declared_commands,
    home_key_commands,
    leaver_commands,
    undeclared,
)

DATA = Path(__file__).parent / "data/accounts"
STEPS = {"accounts": declared_commands, "leavers": leaver_commands, "home_keys": home_key_commands, "told": undeclared}


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.json")))
def test_commands(name):
    case = json.loads((DATA / f"{name}.json").read_text())
    roster = Roster(tuple(case["declared"]), tuple(case["removed"]), case.get("checks", ""))
    for step, made in STEPS.items():
        assert made(roster, case["seen"]) == case[step], step
