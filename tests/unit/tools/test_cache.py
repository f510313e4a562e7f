"""A part is complete or not there; two installs never meet."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import cache


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_cache_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.root() == tmp_path / "cache" / "bastide" / "tools"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "bastide" / "tools"


def test_a_part_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "parts" / "one"
    with pytest.raises(FileNotFoundError), cache.staged(target) as staging:
        (staging / "half" / "way").touch()
    assert list(target.parent.iterdir()) == []
    with cache.staged(target) as staging:
        (staging / "whole").touch()
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_what_a_killed_install_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "parts" / "one"
    left = target.parent / ".one.4711"
    left.mkdir(parents=True)
    with cache.staged(target) as staging:
        (staging / "whole").touch()
    assert [path.name for path in target.parent.iterdir()] == ["one"]


def test_the_hash_changes_with_the_content_the_names_and_the_flags(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "a").write_text("1")
    hashes = {cache.recipe_hash([recipe]), cache.recipe_hash([recipe], "flag")}
    (recipe / "a").write_text("2")
    hashes.add(cache.recipe_hash([recipe]))
    (recipe / "a").rename(recipe / "b")
    hashes.add(cache.recipe_hash([recipe]))
    assert len(hashes) == 4
    assert cache.recipe_hash([recipe]) == cache.recipe_hash([recipe])


def test_the_second_install_waits_for_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    code = "from tools import cache\nwith cache.locked():\n    print('held', flush=True); input()"
    first = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout
    assert first.stdout.readline() == "held\n"
    began = time.monotonic()
    # the holder is killed, not asked: the kernel must free the lock
    threading.Timer(0.5, first.kill).start()
    with cache.locked():
        assert time.monotonic() - began >= 0.4
    first.communicate()
    assert "waiting for it" in capsys.readouterr().out


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="needs 1e\\+06 GB") as caught:
        cache.require_space(tmp_path / "not" / "yet", 1e6, "a build from source")
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ToolError, match="cannot write") as caught, cache.locked():
        pass
    assert "XDG_CACHE_HOME" in caught.value.hint
