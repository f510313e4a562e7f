"""The watcher of secrets: what it has looked at once it looks at again as soon as it is not as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rehearsal import watcher
from tests.rehearsal.stack import wait_for
from tests.rehearsal.watcher import Watcher

CANARY = "canary-5f0c9c4a"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_SETTLED_SECONDS", 0.0)


def watching(folder: Path) -> Watcher:
    return Watcher([CANARY], [folder], without=Path("/nowhere"), lab="no lab of this name")


def looked(watch: Watcher) -> None:
    """Wait until all processes have been looked at twice more."""
    now = watch.rounds
    wait_for(lambda: watch.rounds > now + 1, "another look", seconds=30)


def test_a_file_is_looked_at_again_when_it_changed_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, changed = tmp_path / "quiet", tmp_path / "changed"
    quiet.write_text("dull-5f0c9c4a00")
    changed.write_text("dull-5f0c9c4a00")
    searched: list[bytes] = []
    found = Watcher._in
    monkeypatch.setattr(Watcher, "_in", lambda self, data: searched.append(data) or found(self, data))  # type: ignore[func-returns-value]
    with watching(tmp_path) as watch:
        wait_for(lambda: searched.count(b"dull-5f0c9c4a00") >= 2, "both are looked at", seconds=30)
        looked(watch)
        assert searched.count(b"dull-5f0c9c4a00") == 2
        assert watch.found == set()
        changed.write_text(CANARY)
        assert changed.stat().st_size == quiet.stat().st_size
        wait_for(lambda: bool(watch.found), "it is found", seconds=30)
    assert watch.found == {f"file: {changed} 0644"}


def test_a_process_is_looked_at_again_when_it_has_become_another(tmp_path: Path) -> None:
    words = ["sh", "-c", "read said; export TOLD=$said; exec sleep 60"]
    with watching(tmp_path) as watch, subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        try:
            looked(watch)
            assert watch.found == set()
            assert process.stdin is not None
            process.stdin.write(f"{CANARY}\n".encode())
            process.stdin.close()
            wait_for(lambda: bool(watch.found), "it is found", seconds=30)
        finally:
            process.kill()
    assert watch.found == {"environ: sleep TOLD"}
