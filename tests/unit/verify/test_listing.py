"""The list of what the checks run as root: complete before they run, and the same wherever it is made."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.checks import listed_scripts
from bastide.console import run
from bastide.errors import CommandFailed
from bastide.machines import Prober
from bastide.settings import Settings
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify.probes import listed
from tests.verify.probes.world import World

ROOT = Path(__file__).parents[3]
PROBES = ROOT / "tests/verify/probes"
PRIMARY, STANDBY, WITNESS = inventory().machines


def test_two_processes_give_the_same() -> None:
    """What hangs on the order of a set, on a random number or on the time would be refused by the machines."""
    given = json.dumps(inventory().to_json())
    words = [sys.executable, "-m", "tests.verify.listing"]
    found = {run(words, input=given, cwd=ROOT, env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert len(found) == 1
    by_machine = json.loads(found.pop())
    assert set(by_machine) == {"primary", "standby", "witness"}
    assert {"accounts", "knock", "postgres", "ban"} <= set(by_machine["primary"].values())
    assert "postgres" not in by_machine["witness"].values()


def test_a_broken_check_says_so_to_the_deploy(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        listed_scripts(replace(inventory(), stack="no-such-stack"))
    assert "tests.verify.listing" in str(caught.value)
    assert "a check is broken" in caught.value.hint


def test_one_server_without_anything_has_a_list() -> None:
    small = SETTINGS.model_dump(exclude={"postgres", "wireguard", "dns", "storage", "alerts"})
    small["servers"] = {"primary": small["servers"]["primary"]}
    alone = replace(inventory(), machines=(PRIMARY,))
    names = set(listed.allowed(World("unit", Settings.model_validate(small), alone, Path("none")), PRIMARY).values())
    assert {"accounts", "sshd"} <= names
    assert not names & {"postgres", "etcd", "wal marker"}


def test_a_ban_spares_everybody_but_nobody_and_the_prober() -> None:
    ban = listed._listed["ban"]
    outside = Prober("prober", "root", "198.18.9.1", "2001:db8:9::1", "ssh-ed25519 AAAA")
    world = World("unit", SETTINGS, inventory(), Path("none"))
    lab = World("unit", SETTINGS, replace(inventory(), prober=outside), Path("none"))
    assert "2001:db8:9::/64" in ban.text(lab, PRIMARY)
    assert "2001:db8:9::/64" not in ban.text(world, PRIMARY)


@pytest.mark.parametrize("path", sorted(PROBES.glob("*.py")), ids=lambda path: path.stem)
def test_no_script_is_registered_while_checks_run(path: Path) -> None:
    """One that is registered in a function would be in no list."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    calls = [node for one in functions for node in ast.walk(one) if isinstance(node, ast.Call)]
    names = [node.func.id for node in calls if isinstance(node.func, ast.Name)]
    assert not {"listed", "command"} & set(names) or path.stem in ("batch", "listed")
