"""The rooms: who may import whom, and one word for one capability."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from importlinter import cli as import_linter

ROOT = Path(__file__).parents[3]
CAPABILITIES = ("base", "users", "wireguard", "ssh", "firewall", "fail2ban", "updates", "etcd", "postgres")
# made at the provider and not on machines: a component of stacks/ stands where others have their deploy
AT_THE_PROVIDER = ("dns",)


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = import_linter.lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("word", [*CAPABILITIES, *AT_THE_PROVIDER])
def test_a_capability_has_its_settings_deploy_check_and_controls(word: str) -> None:
    from bastide.controls import CONTROLS
    from bastide.settings import Settings

    assert word in Settings.model_fields
    room = ROOT / ("stacks" if word in AT_THE_PROVIDER else "deploys")
    assert (room / f"{word}.py").exists() or (room / word / "deploy.py").exists()
    assert (ROOT / "tests" / "verify" / f"test_{word}.py").exists()
    assert any(control.id.startswith(f"{word}-") for control in CONTROLS)


def test_no_orphans_in_templates_and_deploys() -> None:
    named = {path.name for path in (ROOT / "templates").iterdir() if path.is_dir()}
    assert named - {*CAPABILITIES, "page", "local_access"} == set()
    modules = {path.stem for path in (ROOT / "deploys").iterdir()} - {"__init__"}
    assert set(CAPABILITIES) <= modules


def test_every_package_is_installed() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = sorted({name.partition(".")[0] for name in named})
    found = [path.parent.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("__init__.py")]
    assert sorted(named) == sorted(".".join(folder.parts) for folder in found)


def test_requirements_are_pinned_exactly() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    loose = [line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert loose == []
