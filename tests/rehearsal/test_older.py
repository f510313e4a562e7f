"""A platform that an older checkout deployed, and the same folder after `git pull`: one `make up`, and it is today's.

Names of units, paths and keys of the stack file are what machines and operators keep: this finds one that was renamed
without a way from there to here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.console import run
from tests.groups import stack_of
from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.conftest import ROOT, fresh_stack
from tests.rehearsal.stack import Rehearsal

LAB = "older"
pytestmark = pytest.mark.full("older")

OLDER = "e5ad9e90bbc8"
"""The last commit before the tree was sorted anew: modules, facts and commands have other names and places since."""


@pytest.fixture(scope="module")
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The older checkout, in a folder of its own, with what it made: three machines, deployed and proven by it."""
    shallow = run(["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT).stdout.strip() == "true"
    if shallow and not run(["git", "cat-file", "-e", f"{OLDER}^{{commit}}"], cwd=ROOT, check=False).ok:
        pytest.skip(f"this clone's history does not reach back to {OLDER}: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("older") / "checkout"
    run(["git", "worktree", "add", "--detach", "--force", str(folder), OLDER], cwd=ROOT)
    try:
        for stack in fresh_stack(stack_of(LAB), keep=request.config.getoption("--keep"), root=folder):
            stack.make("up", timeout=1500)
            yield stack
    finally:
        if not request.config.getoption("--keep"):
            run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)


def test_what_an_older_checkout_deployed_is_todays_by_one_command(older: Rehearsal) -> None:
    _becomes_ours(older.root)
    writers = Writers(older)
    with writers.writing("primary", "standby"):
        older.make("up", timeout=1500)
    told = writers.told()
    assert told.of("primary")
    assert writers.missing(told) == [], "rows that were acknowledged while it was brought here are gone"
    rows = json.loads((older.build / "evidence.json").read_text())["rows"]
    assert {row["control"] for row in rows if row["outcome"] == "failed"} == set()
    assert {row["control"] for row in rows if row["outcome"] == "proven"}
    assert older.dry() == {}
    assert older.pulumi("preview", "--expect-no-changes", check=False).ok


def _becomes_ours(folder: Path) -> None:
    """What `git pull` does: the files of this checkout's commit, in the place of the older ones."""
    commit = run(["git", "rev-parse", "HEAD"], cwd=ROOT).stdout.strip()
    run(["git", "checkout", "-q", "--detach", commit], cwd=folder)
