"""What root's processes of the lab take over from the caller, and what they leave to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import bringup, owner, place
from lab.bringup import Order
from lab.machines import spawn
from lab.machines.prober import Prober
from lab.place import Place
from lab.services import archive


def test_the_caller_is_known_to_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo's own word for it does not pass the clean environment, and one from an earlier sudo is somebody else's."""
    monkeypatch.setenv("SUDO_UID", "4711")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 1001)
    kept = owner.kept_environment()
    assert [word for word in kept if word.startswith("SUDO_")] == ["SUDO_UID=1000", "SUDO_GID=1001"]


def test_root_passes_on_who_called_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.delenv("SUDO_GID", raising=False)
    assert [word for word in owner.kept_environment() if word.startswith("SUDO_")] == ["SUDO_UID=1000"]


def test_no_secret_crosses_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "open sesame")
    monkeypatch.setenv("HCLOUD_TOKEN", "open sesame")
    assert "open sesame" not in " ".join(owner.kept_environment())


def test_the_cache_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert owner.cache_folder() == tmp_path / "bastide"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert owner.cache_folder() == tmp_path / ".cache" / "bastide"


def test_root_leaves_no_compiled_files_and_takes_no_code_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = spawn.python("lab", "status")
    assert "-P" in words
    monkeypatch.setattr(place, "CHECKOUT", tmp_path)
    os.chown(tmp_path, 1000, -1) if os.geteuid() == 0 else None
    if tmp_path.stat().st_uid != 0:
        assert "-B" in spawn.python("lab", "status")


def test_the_answer_is_not_written_through_a_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 42)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    info = tmp_path / "lab.json"
    (tmp_path / ".lab.json.42").symlink_to(elsewhere)
    info.symlink_to(elsewhere)
    monkeypatch.setattr(archive, "describe", lambda here: {})
    bringup._write_info(Place("x", "x", 0), Order(20000, "", "", info), Prober("198.18.0.3", "2001:db8::1", "key"))
    assert elsewhere.read_text() == "precious"
    assert not info.is_symlink()
    assert '"endpoint": "http://127.0.0.1:20000/v1"' in info.read_text()
