"""A proof is bound to its sentence and to the texts of its checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bastide import checks
from bastide.checks import proof_digests
from bastide.controls import CONTROLS

FILES = {
    "test_ssh.py": "from tests.verify.probes import ssh\n\n@pytest.mark.control('ssh-01')\ndef test_a(): ...\n",
    "test_dns.py": "@pytest.mark.control('dns-01', 'dns-02')\ndef test_b(): ...\n",
    "probes/ssh.py": "from tests.verify.probes.scripts import script\n",
    "probes/scripts.py": "",
    "probes/remote/look.py": "",
    "conftest.py": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "tests" / "verify" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def digests(project: Path) -> dict[str, str]:
    for function in (checks.proof_digests, checks._of_file, checks._imported):
        function.cache_clear()
    return proof_digests(project)


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ("test_ssh.py", {"ssh-01"}),
        ("probes/ssh.py", {"ssh-01"}),
        ("probes/remote/look.py", {"ssh-01"}),
        ("test_dns.py", {"dns-01", "dns-02"}),
        ("conftest.py", {"ssh-01", "dns-01", "dns-02"}),
    ],
)
def test_an_edited_check_needs_new_proofs(project: Path, edited: str, changed: set[str]) -> None:
    before = digests(project)
    path = project / "tests" / "verify" / edited
    path.write_text(f"{path.read_text()}# edited\n")
    after = digests(project)
    assert {name for name in after if after[name] != before[name]} == changed


@pytest.mark.parametrize("field", ["sentence", "why", "subject", "roles"])
def test_an_edited_sentence_needs_new_proofs(project: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    before = digests(project)
    first, *others = CONTROLS
    edited = replace(first, **{field: ("primary",) if field == "roles" else "Something else."})
    monkeypatch.setattr(checks, "CONTROLS", (edited, *others))
    after = digests(project)
    assert {name for name in after if after[name] != before[name]} == {first.id}


def test_every_control_is_bound_to_its_own_checks() -> None:
    """Those of the project as it stands: a control of which no file is found would be bound to its words alone."""
    for one in CONTROLS:
        proving = [
            path.name for path in (checks.ROOT / "tests/verify").glob("test_*.py") if one.id in checks._proves(path)
        ]
        assert proving, one.id
    seen = checks._with_imports("tests/verify/test_postgres.py", checks.ROOT)
    assert {"tests/verify/probes/postgres.py", "tests/verify/probes/remote/postgres_server.py"} <= seen
    assert "bastide/layout/postgres.py" in seen
