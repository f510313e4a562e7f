"""A file is written whole or not at all."""

from __future__ import annotations

import os

import pytest

from bastide.errors import BastideError
from bastide.files import write_whole


def test_it_is_put_in_place_with_its_mode(tmp_path):
    write_whole(tmp_path / "one", "text", mode=0o600)
    assert (tmp_path / "one").read_text() == "text"
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("failing", ["fsync", "open"])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch, failing):
    path = tmp_path / "one"
    path.write_text("old")

    def full(*arguments, **more):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(BastideError, match="No space left on device; it is as it was") as caught:
        write_whole(path, "new")
    monkeypatch.undo()
    assert "df -h" in caught.value.hint
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
