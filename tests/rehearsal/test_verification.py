"""The account of the checks: it proves what the operator proves, is let to nothing else, and goes without a trace."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bastide.layout.users import GATE, KEY_DIR, LISTED
from bastide.stackfile import read
from tests.rehearsal.stack import Rehearsal

LAB = "flow"
MACHINES = ("primary", "standby", "witness")


@pytest.mark.full("by-hand")
def test_it_proves_what_the_operator_proves(rehearsal: Rehearsal, tmp_path: Path) -> None:
    mine, its = tmp_path / "operator.json", tmp_path / "checks.json"
    rehearsal.verify("--evidence", str(mine), check=False)
    done = rehearsal.verify("--verification", "--evidence", str(its), check=False)
    assert outcomes(its) == outcomes(mine), done.stdout[-3000:]
    assert "failed" not in outcomes(its).values()


def test_what_was_not_deployed_is_refused_and_named(rehearsal: Rehearsal) -> None:
    rehearsal.exec("standby", f"cp -p {LISTED} /run/listed; sed -i '/  accounts$/d' {LISTED}")
    try:
        words = ("--verification", "--control", "users-01", "--machine", "standby")
        done = rehearsal.verify(*words, "--evidence", str(rehearsal.build / "refused.json"), check=False)
    finally:
        rehearsal.exec("standby", f"cp -p /run/listed {LISTED}; rm /run/listed")
    assert "standby does not run accounts for verify: it is not listed" in done.stdout
    assert re.search(r"\b[1-9]\d* passed\b.*\b1 error\b", done.stdout), "what is listed runs all the same"


@pytest.mark.full("by-hand")
def test_it_goes_and_leaves_nothing(rehearsal: Rehearsal) -> None:
    account = read(rehearsal.file).users.verification
    assert account
    key = rehearsal.root / account.identity
    asked = rehearsal.ssh("primary", user=account.name, key=key)
    assert (asked.returncode, asked.stdout) == (0, ""), "nothing was asked for, and nothing is done"
    assert "nothing else" in rehearsal.ssh("primary", "id", user=account.name, key=key).stdout
    with rehearsal.settings_changed("users.verification", None):
        rehearsal.deploy("--data", "only=users,ssh")
        assert rehearsal.dry("--data", "only=users,ssh") == {}
        refused = rehearsal.ssh("primary", user=account.name, key=key)
        assert not refused.ok
        assert "Permission denied" in refused.stderr
        for name in MACHINES:
            left = rehearsal.exec(
                name,
                f"getent passwd {account.name}; getent group {account.name}; grep -rl {account.name} /etc/sudoers.d"
                f" /etc/ssh /etc/shadow; ls -d {GATE} {LISTED} {KEY_DIR}/{account.name} /home/{account.name}",
                check=False,
            )
            assert left.stdout == "", f"{name}: {left.stdout}"
    rehearsal.deploy("--data", "only=users,ssh")
    assert rehearsal.dry("--data", "only=users,ssh") == {}
    assert rehearsal.verify("--verification", "--control", "users-06").ok


def outcomes(path: Path) -> dict[tuple[str, str], str]:
    return {(row["control"], row["machine"]): row["outcome"] for row in json.loads(path.read_text())["rows"]}
