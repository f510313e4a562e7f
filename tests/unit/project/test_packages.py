"""Every folder of modules is in pyproject's list of packages, and nothing else is."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
# run from the project's folder, never installed; build/ is not ours to look into
NOT_INSTALLED = {"benchmarks", "build", "examples", "tests"}


def folders() -> set[str]:
    """All folders below the rooms that hold modules, as packages."""
    names = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name.isidentifier()} - NOT_INSTALLED
    found = {file.parent for name in names for file in (ROOT / name).rglob("*.py")}
    return {".".join(path.relative_to(ROOT).parts) for path in found}


def test_the_list_of_packages_is_that_of_the_folders() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == folders()


def test_every_package_has_its_sentence() -> None:
    bare = [name for name in sorted(folders()) if not (ROOT / name.replace(".", "/") / "__init__.py").exists()]
    assert bare == []
