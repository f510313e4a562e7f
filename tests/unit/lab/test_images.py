"""Images are built once, however many labs start at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import owner
from lab.machines import image


def test_labs_that_start_at_once_build_an_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(owner, "make_folders", lambda path: path.mkdir(parents=True, exist_ok=True))
    built: list[Path] = []
    begun = threading.Event()

    def build(work: Path) -> None:
        built.append(work)
        begun.wait(0.3)
        (work / "root").mkdir()

    with ThreadPoolExecutor(3) as labs:
        found = list(labs.map(lambda _: image._ensure("key", "base", build), range(3)))
    assert len(built) == 1
    assert set(found) == {tmp_path / "images" / "base-key" / "root"}
    assert found[0].is_dir()
