"""The folders of the lab's services: what a program that was taken over can never make root do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import place
from lab.place import Place
from lab.services import service
from lab.services.service import Service

HERE = Place("lab", "lab12345", 3)
SERVICE = Service("thing", 7, (("tcp", 80),))


class Tree:
    """A lab's control groups in which nothing runs."""

    def populated(self, group: str) -> bool:
        return False

    def kill(self, group: str) -> None:
        """There is nothing to kill."""

    def make_fresh(self, group: str) -> None:
        """There is nothing to make."""

    def procs(self, group: str) -> tuple[Path, ...]:
        return ()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been started."""
    found: list[list[str]] = []
    monkeypatch.setattr(service, "_open_ports", lambda here, who: None)
    monkeypatch.setattr(service, "open_tree", lambda name: Tree())
    monkeypatch.setattr(service, "spawn", lambda words, **more: found.append(words))
    return found


def test_what_roots_shell_reads_does_not_lie_where_the_program_can_write(started: list[list[str]]) -> None:
    service.prepare(HERE, SERVICE)
    trap = SERVICE.folder(HERE) / "environment"
    trap.write_text("touch /tmp/taken-over\n")
    service.ensure(HERE, SERVICE, ["serve"], env={"SECRET": "it's"})
    environment = SERVICE.environment(HERE)
    assert environment.parent == HERE.folder
    assert environment.stat().st_mode & 0o777 == 0o600
    assert "export SECRET='it'\\''s'\n" in environment.read_text()
    (words,) = started
    assert str(environment) in words
    assert str(trap) not in words
    assert not any("it's" in word for word in words)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_the_next_start_gives_nothing_away_that_the_program_has_named(tmp_path: Path) -> None:
    precious = place.ROOT.parent / "precious"
    precious.write_text("root's")
    service.prepare(HERE, SERVICE)
    os.link(precious, SERVICE.folder(HERE) / "another-name")
    (SERVICE.folder(HERE) / "link").symlink_to(precious)
    service.prepare(HERE, SERVICE)
    assert precious.stat().st_uid == 0


def test_each_folder_has_one_who_writes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    service.prepare(HERE, SERVICE)
    folder, settings = SERVICE.folder(HERE), SERVICE.settings(HERE)
    service.write(settings / "secret.conf", "one")
    service.write(settings / "secret.conf", "two")
    found = {path: path.stat() for path in (folder, settings, settings / "secret.conf")}
    assert [one.st_mode & 0o777 for one in found.values()] == [0o700, 0o750, 0o640]
    assert [path.name for path in settings.iterdir()] == ["secret.conf"]
    assert (settings / "secret.conf").read_text() == "two"
    assert all(path.stat().st_mode & 0o777 == 0o711 for path in (place.ROOT, HERE.folder, folder.parent))
    if os.geteuid() == 0:
        nobody = folder.stat()
        assert nobody.st_uid != 0
        assert {(one.st_uid, one.st_gid) for path, one in found.items() if path != folder} == {(0, nobody.st_gid)}
