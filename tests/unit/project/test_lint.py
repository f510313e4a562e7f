"""The tree is clean for ruff and for mypy in its strict mode."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bastide.console import run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "words",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_clean(words: tuple[str, ...]) -> None:
    done = run([sys.executable, "-m", *words], cwd=ROOT, check=False, timeout=300)
    assert done.ok, done.stdout + done.stderr
