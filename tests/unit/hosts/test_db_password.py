"""A role's password: at a terminal or in a file of one's own, and nowhere else."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from pydantic import SecretBytes

from bastide.cluster import password
from bastide.errors import BastideError
from bastide.secrets import Keyring
from bastide.settings import Settings
from hosts.commands.db_password import show
from hosts.stack import Stack
from tests.unit.deploys.box import MACHINES, SETTINGS

DATABASES = {"app": {"roles": {"app": "owner"}}}
KEYRING = Keyring("prod", {"v1": SecretBytes(b"\1" * 32)})
SECRET = password(KEYRING, "app").get_secret_value()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stack(root: Path, *, postgres: bool = True) -> Stack:
    wanted = Settings.model_validate({**SETTINGS.model_dump(), "postgres": {"databases": DATABASES}})
    return Stack("prod", root, wanted if postgres else SETTINGS, MACHINES, KEYRING)


def test_a_terminal_shows_it_and_a_pipe_does_not(tmp_path: Path) -> None:
    out, tell = Terminal(), io.StringIO()
    show(stack(tmp_path), "app", "", out=out, tell=tell)
    assert out.getvalue() == f"{SECRET}\n"
    pipe = io.StringIO()
    with pytest.raises(BastideError, match="at a terminal only") as caught:
        show(stack(tmp_path), "app", "", out=pipe, tell=tell)
    assert caught.value.hint == "make db-password role=app to=FILE"
    assert SECRET not in pipe.getvalue() + tell.getvalue()


def test_a_file_is_new_and_for_its_owner_alone(tmp_path: Path) -> None:
    out, tell = io.StringIO(), io.StringIO()
    path = tmp_path / "password"
    show(stack(tmp_path), "app", str(path), out=out, tell=tell)
    assert path.read_text() == f"{SECRET}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET not in out.getvalue() + tell.getvalue()
    with pytest.raises(BastideError, match="File exists"):
        show(stack(tmp_path), "app", str(path), out=out, tell=tell)


@pytest.mark.parametrize(
    ("role", "postgres", "said"),
    [("", True, "whose password"), ("ap", True, "declares no role ap"), ("app", False, "has no database cluster")],
)
def test_other_words_are_refused(role: str, postgres: bool, said: str, tmp_path: Path) -> None:
    with pytest.raises(BastideError, match=said) as caught:
        show(stack(tmp_path, postgres=postgres), role, "", out=Terminal(), tell=io.StringIO())
    assert caught.value.hint
