"""Evidence: what is written is what is read, half a proof is none, and the schema is the documented one."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from bastide.errors import EvidenceError
from bastide.evidence import Row, digest, load, merge, save, schema, worst
from tests.unit.bastide.proofs import AT, SETTINGS, all_green, check, inventory, row, run

ROOT = Path(__file__).parents[3]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "build" / "evidence.json"
    save(all_green(), path)
    assert load(path) == all_green()
    assert [file.name for file in path.parent.iterdir()] == ["evidence.json"]


def test_the_documented_schema_is_the_models() -> None:
    text = (ROOT / "docs" / "reference" / "evidence.schema.json").read_text()
    assert json.loads(text) == schema(), "run: python -m bastide.evidence > docs/reference/evidence.schema.json"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "JSON"),
        ("[]", "schema version None"),
        ('{"version": 2}', "schema version 2"),
        ('{"version": 1, "rows": []}', "run"),
        ('{"version": 1, "run": {}, "rows": [], "more": 1}', "run"),
    ],
)
def test_garbage_and_other_versions_are_refused(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(text)
    with pytest.raises(EvidenceError, match=word) as caught:
        load(path)
    assert "pytest tests/verify" in caught.value.hint


def test_missing_evidence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="nothing has been proven yet"):
        load(tmp_path / "evidence.json")


def test_one_failed_check_fails_the_row() -> None:
    machine = inventory().machines[0]
    found = row("ssh-01", machine, check(), check("not_provable_here", "no prober"), check("failed", "it is open"))
    assert found.outcome == "failed"
    assert found.detail == "it is open"
    assert worst(["proven", "not_provable_here"]) == "not_provable_here"


def test_the_oldest_check_dates_the_row() -> None:
    found = row("ssh-01", inventory().machines[0], check(), check(at=AT - timedelta(hours=1)))
    assert found.at == AT - timedelta(hours=1)


def test_a_row_cannot_say_more_than_its_checks() -> None:
    found = row("ssh-01", inventory().machines[0], check("failed", "no")).model_dump()
    with pytest.raises(ValidationError, match="worst of the checks"):
        Row.model_validate(found | {"outcome": "proven"})


def test_a_partial_run_keeps_the_other_rows_with_their_own_times() -> None:
    machines = inventory()
    later = row("ssh-01", machines.machines[0], check(at=AT + timedelta(hours=3)))
    merged = merge(all_green(), run(machines, complete=False), [later])
    assert len(merged.rows) == len(all_green().rows)
    found, other = merged.row("ssh-01", "primary"), merged.row("ssh-02", "primary")
    assert found is not None and found.at == AT + timedelta(hours=3)  # noqa: PT018
    assert other is not None and other.at == AT  # noqa: PT018


@pytest.mark.parametrize(("outcome", "kept"), [("proven", AT), ("not_provable_here", AT), ("failed", None)])
def test_half_a_control_proves_nothing_but_may_disprove(outcome: str, kept: object) -> None:
    machines = inventory()
    half = row("ssh-01", machines.machines[0], check(outcome, "so", AT + timedelta(hours=3)))
    merged = merge(all_green(), run(machines, complete=False), [half], partial={("ssh-01", "primary")})
    found = merged.row("ssh-01", "primary")
    assert found is not None
    assert found.at == (kept or AT + timedelta(hours=3))
    assert found.outcome == ("failed" if outcome == "failed" else "proven")


def test_half_a_control_never_becomes_the_first_proof() -> None:
    machines = inventory()
    half = row("ssh-01", machines.machines[0])
    assert merge(None, run(machines, complete=False), [half], partial={("ssh-01", "primary")}).rows == ()


def test_rows_of_machines_that_are_gone_or_replaced_are_dropped() -> None:
    machines = inventory()
    old = all_green()
    first, *others = old.run.machines
    now = (first.model_copy(update={"id": "99"}), *others)
    merged = merge(old, run(machines, complete=False).model_copy(update={"machines": now}), [])
    assert {found.machine for found in merged.rows} == {"standby", "witness"}


def test_a_complete_run_keeps_nothing_old() -> None:
    machines = inventory()
    only = row("ssh-01", machines.machines[0])
    assert merge(all_green(), run(machines), [only]).rows == (only,)


def test_other_settings_have_another_digest() -> None:
    other = SETTINGS.model_copy(update={"ssh": SETTINGS.ssh.model_copy(update={"max_auth_tries": 4})})
    assert digest(SETTINGS) == digest(SETTINGS) != digest(other)
