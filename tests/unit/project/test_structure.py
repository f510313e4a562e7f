"""The rooms: who may import whom, and one word for one capability."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from importlinter import cli as import_linter
from setuptools import find_packages  # type: ignore[import-untyped]

from bastide.capabilities import CAPABILITIES, WORDS, Capability, parts
from bastide.settings import Settings

ROOT = Path(__file__).parents[3]
# what each room has beside the capabilities' own files
SHARED = {
    "bastide/controls": {"model"},
    "bastide/layout": {"model"},
    "deploys": {
        *("commands", "facts", "operations", "remote"),  # rooms of their own
        *("checks", "here", "local_access", "modules", "preflight", "render", "restarts", "sandboxed", "selection"),
    },
    "templates": {"local_access", "page", "restarts"},
    "tests/rehearsal/sabotages": {"applied", "model", "rounds", "verdicts"},
}


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = import_linter.lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("one", CAPABILITIES, ids=WORDS)
def test_a_capability_has_what_each_must_have(one: Capability) -> None:
    assert (one.word in Settings.model_fields) == one.settings
    assert (ROOT / "tests" / "verify" / f"test_{one.word}.py").exists()
    assert one.word in parts("bastide.controls")
    assert one.word in parts("tests.rehearsal.sabotages")
    # made at the provider and not on machines: a component of stacks/ stands where others have their deploy
    room = ROOT / ("deploys" if one.made == "machines" else "stacks")
    made = (room / f"{one.word}.py").exists() or (room / one.word / "deploy.py").exists()
    assert made == (one.made == "machines" or one.settings)


@pytest.mark.parametrize("room", SHARED)
def test_a_file_has_a_word(room: str) -> None:
    names = {path.stem for path in (ROOT / room).iterdir() if not path.name.startswith("_")}
    assert names - set(WORDS) == SHARED[room]


def test_a_check_has_a_word() -> None:
    # some capabilities need several files: test_postgres_rights.py
    names = [path.stem.removeprefix("test_") for path in (ROOT / "tests" / "verify").glob("test_*.py")]
    assert [name for name in names if name.partition("_")[0] not in WORDS] == []


def test_a_probe_has_a_word_or_is_what_several_share() -> None:
    names = {path.stem.partition("_")[0] for path in (ROOT / "tests" / "verify" / "probes").glob("*.py")}
    machinery = {"batch", "engine", "gate", "listed", "scripts", "world"}
    # etcd and Postgres, the kernel's rules, what the provider says, ports, units
    several = {"cluster", "nft", "provider", "reach", "systemd"}
    assert names - set(WORDS) == machinery | several


@pytest.mark.parametrize("room", ["deploys", "hosts", "lab", "stacks", "tools"])
def test_who_proves_does_not_ask_who_did_it(room: str) -> None:
    """What a check expects comes from the settings, the layout, a standard or a manual; what is sent along counts, too.

    Not a contract of import-linter's: it knows packages with an `__init__.py` alone.
    """
    found = []
    for path in (ROOT / "tests" / "verify").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        names = [name for node in ast.walk(ast.parse(text)) for name in _imported(node)]
        # how to speak to an object storage is nobody's answer
        names = [name for name in names if name not in ("stacks.buckets", "stacks.buckets.client")]
        if any(name.partition(".")[0] == room for name in names) or f'"{room}/' in text:
            found.append(str(path.relative_to(ROOT)))
    assert found == []


@pytest.mark.parametrize("room", ["bastide", "deploys", "hosts", "lab", "stacks", "tools"])
def test_who_does_it_imports_nothing_of_who_proves(room: str) -> None:
    """What a deploy must know of the checks' scripts it is told by their own program (`bastide.checks`)."""
    found = []
    for path in (ROOT / room).rglob("*.py"):
        names = [name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in _imported(node)]
        if any(name.partition(".")[0] == "tests" for name in names):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
    return [one.name for one in node.names] if isinstance(node, ast.Import) else []


def test_each_control_belongs_to_the_file_it_stands_in() -> None:
    for word, module in parts("bastide.controls").items():
        assert {one.capability for one in module.CONTROLS} == {word}


def test_each_sabotage_belongs_to_the_file_it_stands_in() -> None:
    for word, module in parts("tests.rehearsal.sabotages").items():
        assert {one.control.rpartition("-")[0] for one in module.SABOTAGES} == {word}


def test_every_package_is_installed() -> None:
    where = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    found = set(find_packages(str(ROOT), include=where["include"]))
    rooms = {name for name in found if "." not in name}
    folders = [path.parent.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("__init__.py")]
    assert found == {".".join(folder.parts) for folder in folders}
    assert rooms == {"bastide", "hosts", "deploys", "stacks", "lab", "tools"}


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without its sentence would be found by nobody who looks for packages."""
    rooms = {path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / "tests"}
    folders = {module.parent for room in rooms for module in room.rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_requirements_are_pinned_exactly() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    loose = [line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert loose == []
