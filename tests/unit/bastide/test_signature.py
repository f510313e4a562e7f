"""Signed evidence: whose word it is, and that it is word for word what was signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.console import run
from bastide.errors import EvidenceError
from bastide.evidence import signature_path, write_unsigned
from bastide.settings import Settings
from bastide.signature import KEY, sign, signer
from tests.unit.bastide.proofs import SETTINGS


def key(folder: Path, name: str) -> tuple[Path, str]:
    path = folder / name
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])
    return path, path.with_name(f"{name}.pub").read_text().strip()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The automation account with a key that lies there; anna may sign, berta may not."""
    monkeypatch.delenv(KEY, raising=False)
    private, public = key(tmp_path, "automation")
    known = SETTINGS.model_dump()
    known["users"]["automation"] |= {"key": public, "identity": str(private)}
    people = {name: {"keys": (key(tmp_path, name)[1],)} for name in ("anna", "berta")}
    known["users"] |= {"people": people, "removed": ()}
    known["wireguard"] = None
    known["postgres"] = None
    return Settings.model_validate({**known, "evidence": {"signers": ("anna",)}})


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "build" / "evidence.json"
    write_unsigned(path, "{}\n")
    return path


def test_the_automation_account_signs_by_itself(evidence: Path, settings: Settings) -> None:
    assert signer(evidence, settings) == ""
    assert sign(evidence, settings)
    assert signer(evidence, settings) == "bastide"
    assert sign(evidence, settings), "a second time"


def test_the_account_of_the_checks_signs_where_no_other_key_is(
    evidence: Path, settings: Settings, tmp_path: Path
) -> None:
    private, public = key(tmp_path, "checks")
    known = settings.model_dump()
    known["users"]["verification"] = {"keys": (public,), "identity": str(private)}
    Path(settings.users.automation.identity).unlink()
    settings = Settings.model_validate(known)
    assert sign(evidence, settings)
    assert signer(evidence, settings) == "verify"


def test_people_sign_with_their_own_key(
    evidence: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, str(tmp_path / "anna"))
    assert sign(evidence, settings)
    assert signer(evidence, settings) == "anna"


def test_nobody_else_may(evidence: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, str(tmp_path / "berta"))
    assert sign(evidence, settings)
    with pytest.raises(EvidenceError, match="nobody who may sign"):
        signer(evidence, settings)


def test_what_was_changed_afterwards_is_refused(evidence: Path, settings: Settings) -> None:
    sign(evidence, settings)
    evidence.write_text('{"changed": 1}\n')
    with pytest.raises(EvidenceError, match="is not what bastide signed"):
        signer(evidence, settings)


def test_a_signature_for_something_else_is_none(evidence: Path, settings: Settings, tmp_path: Path) -> None:
    """ssh-keygen(1): the namespace keeps a signature of a commit, say, from standing for another thing."""
    run(["ssh-keygen", "-Y", "sign", "-q", "-n", "git", "-f", str(tmp_path / "automation"), str(evidence)])
    with pytest.raises(EvidenceError, match="is not what bastide signed"):
        signer(evidence, settings)


def test_what_is_written_anew_is_unsigned(evidence: Path, settings: Settings) -> None:
    sign(evidence, settings)
    write_unsigned(evidence, "{}\n")
    assert not signature_path(evidence).exists()


def test_without_a_key_it_stays_unsigned(
    evidence: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "automation").unlink()
    assert not sign(evidence, settings)
    assert signer(evidence, settings) == ""
    monkeypatch.setenv(KEY, str(tmp_path / "none"))
    with pytest.raises(EvidenceError, match=f"{KEY} names"):
        sign(evidence, settings)


def test_who_may_sign_must_be_somebody_with_a_key(settings: Settings) -> None:
    known = settings.model_dump()
    with pytest.raises(ValueError, match="carl is not in"):
        Settings.model_validate({**known, "evidence": {"signers": ("carl",)}})
