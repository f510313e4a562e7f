"""The token of the admin API: made once, root's alone, printed by the verb's new name and by its first one."""

from __future__ import annotations

import hashlib

import pytest

from lab import admin_token, cli
from lab.arguments import parser
from lab.place import Place


@pytest.fixture
def here() -> Place:
    place = Place("test", "test0000", 0)
    place.folder.mkdir(parents=True)
    return place


def test_it_is_made_once(here: Place) -> None:
    token = admin_token.token(here)
    assert admin_token.token(here) == token
    assert admin_token.digest(here) == hashlib.sha256(token.encode()).hexdigest()
    assert (here.folder / "admin.token").stat().st_mode & 0o777 == 0o600


def test_a_lab_that_stands_keeps_the_one_that_its_daemon_knows(here: Place) -> None:
    (here.folder / "door.token").write_text("a" * 64)
    assert admin_token.token(here) == "a" * 64
    assert admin_token.token(here) == "a" * 64
    assert [path.name for path in here.folder.glob("*.token")] == ["admin.token"]


@pytest.mark.parametrize("verb", ["admin-token", "door-token"])
def test_both_names_print_it(
    verb: str, here: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lab.registry.find", lambda name: here)
    assert cli._do(parser().parse_args([verb])) == 0
    assert capsys.readouterr().out.strip() == admin_token.token(here)
