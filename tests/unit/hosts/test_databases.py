"""Dumps through a real connection: out into a file that is whole or not there, in without an end to a cut stream."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.errors import BastideError
from bastide.settings import Settings
from hosts.commands import db_dump
from hosts.commands.databases.cluster import declared
from hosts.commands.databases.dump_file import DumpFile
from hosts.commands.databases.failures import explained
from hosts.commands.databases.progress import Progress, size
from hosts.commands.databases.session import FarEndFailed, ask
from hosts.enrolment import first_contact
from hosts.stack import Stack
from hosts.transport.client import PinnedClient
from tests.unit.deploys.box import MACHINES, SETTINGS
from tests.unit.hosts.box import KEYRING, Box

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen (openssh-client)")

DATABASES = {"shop": {"roles": {"shop_owner": "owner"}}}
LOOK = {"owner": "shop_owner", "bytes": 1000, "leads": True, "version": 17, "roles": ["shop_owner"], "at_work": False}


@pytest.fixture
def client(goal: first_contact.Target, box: Box, monkeypatch: pytest.MonkeyPatch) -> Iterator[PinnedClient]:
    with contextlib.closing(first_contact.open_strictly(goal, print)) as connection:
        monkeypatch.setenv("PATH", f"{box.folder}/bin:{os.environ['PATH']}")
        for tool in ("runuser", "systemctl", "systemd-run"):
            box.stand_in(tool, "exit 0")
        yield connection


@pytest.fixture
def stack(tmp_path: Path, client: PinnedClient, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack whose leader is the box."""
    monkeypatch.setattr(db_dump, "site", lambda stack, name: contextlib.nullcontext(client))
    monkeypatch.setattr(db_dump, "leader", lambda stack: "primary")
    monkeypatch.setattr(db_dump, "ask", lambda client, verb, request: LOOK)
    wanted = Settings.model_validate({**SETTINGS.model_dump(), "postgres": {"databases": DATABASES}})
    return Stack("prod", tmp_path, wanted, MACHINES, KEYRING)


def request(tmp_path: Path, **others: object) -> dict[str, object]:
    return {
        **{"database": "shop", "owner": "shop_owner", "password": "c4n4ry", "address": "10.0.0.1", "port": 5432},
        **{"ca": "/ca.crt", "list": "1; 2 3 TABLE public t x\n", "folder": str(tmp_path / "run"), **others},
    }


def seen_by_the_restore(box: Box, tmp_path: Path, after: str = "") -> None:
    """A stand-in for the unit: keeps its words, its environment and what it is given."""
    (tmp_path / "seen").mkdir()
    box.stand_in(
        "systemd-run",
        f'echo "$@" >{tmp_path}/seen/words; cp {tmp_path}/run/* {tmp_path}/seen/; cat >{tmp_path}/seen/given; {after}',
    )


def test_a_dump_becomes_a_file_of_ones_own(box: Box, stack: Stack, tmp_path: Path) -> None:
    box.stand_in("runuser", "head -c 3000000 /dev/zero")
    file = tmp_path / "dump"
    db_dump.dump(stack, "shop", str(file))
    assert file.stat().st_size == 3_000_000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(BastideError, match="File exists"):
        db_dump.dump(stack, "shop", str(file))
    assert [path.name for path in tmp_path.glob("dump*")] == ["dump"]


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ("pg_dump: error: query failed: ERROR:  canceling statement due to conflict with recovery", "is a replica"),
        ("pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout", "alters a table"),
        ("pg_dump: error: connection to server failed", "connection to server failed"),
    ],
)
def test_of_a_dump_that_fails_nothing_is_left(box: Box, stack: Stack, tmp_path: Path, says: str, said: str) -> None:
    box.stand_in("runuser", f"head -c 100000 /dev/zero; echo '{says}' >&2; exit 1")
    with pytest.raises(BastideError, match=said) as caught:
        db_dump.dump(stack, "shop", str(tmp_path / "dump"))
    assert caught.value.hint
    assert list(tmp_path.glob("dump*")) == []


def test_what_a_killed_run_left_is_taken_over(box: Box, stack: Stack, tmp_path: Path) -> None:
    box.stand_in("runuser", "echo whole")
    (tmp_path / "dump.part").write_text("half of it, and longer")
    (tmp_path / "dump.part").chmod(0o644)
    db_dump.dump(stack, "shop", str(tmp_path / "dump"))
    assert (tmp_path / "dump").read_text() == "whole\n"
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("database", "to", "machine", "said"),
    [("", "x", "", "which database"), ("other", "x", "", "declares no database other"), ("shop", "", "", "which file"),
     ("shop", "x", "witness", "has no databases"), ("shop", "/none/x", "", "No such file")],
)  # fmt: skip
def test_wrong_words_are_refused(stack: Stack, database: str, to: str, machine: str, said: str) -> None:
    with pytest.raises(BastideError, match=said) as caught:
        db_dump.dump(stack, database, to, machine=machine)
    assert caught.value.hint


def test_a_restore_gets_all_of_it_and_its_password_stands_nowhere(
    box: Box, client: PinnedClient, tmp_path: Path
) -> None:
    seen_by_the_restore(box, tmp_path)
    given = [bytes([number]) * 100_000 for number in range(20)]
    assert ask(client, "restore", request(tmp_path, size=2_000_000), given) == {"code": 0}
    seen = tmp_path / "seen"
    assert (seen / "given").read_bytes() == b"".join(given)
    assert (seen / "list").read_text() == "1; 2 3 TABLE public t x\n"
    words = (seen / "words").read_text()
    assert "c4n4ry" not in words
    assert "c4n4ry" in (seen / "environment").read_text()
    assert not any("c4n4ry" in command for command in box.commands)
    for word in ("DynamicUser=yes", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"):
        assert word in words
    assert not (tmp_path / "run").exists()


def test_sql_is_committed_after_its_last_byte_alone(box: Box, client: PinnedClient, tmp_path: Path) -> None:
    seen_by_the_restore(box, tmp_path)
    assert ask(client, "restore", request(tmp_path, list=None, size=10), [b"SELECT 1;\n"]) == {"code": 0}
    lines = (tmp_path / "seen/given").read_text().splitlines()
    assert lines[0].startswith("\\restrict ")
    assert lines[1:] == ["BEGIN;", "SELECT 1;", "", "COMMIT;"]


def test_a_stream_that_ends_early_ends_the_restore(box: Box, client: PinnedClient, tmp_path: Path) -> None:
    """The operator's file became shorter meanwhile; a line that breaks is the same to the far end."""
    killed = tmp_path / "killed"
    seen_by_the_restore(box, tmp_path)
    box.stand_in("systemctl", f'echo "$@" >{killed}')

    def give() -> Iterator[bytes]:
        yield b"SELECT 1;\n"
        raise BastideError("the file changed", "again")

    with pytest.raises(BastideError, match="the file changed"):
        ask(client, "restore", request(tmp_path, list=None, size=100), give())
    deadline = time.monotonic() + 10
    while (tmp_path / "run").exists() or not killed.exists():
        assert time.monotonic() < deadline, "the far end goes on"
        time.sleep(0.02)
    assert killed.read_text() == "kill -s KILL bastide-import\n"
    assert "COMMIT" not in (tmp_path / "seen/given").read_text()


def test_a_restore_that_fails_says_why(box: Box, client: PinnedClient, tmp_path: Path) -> None:
    seen_by_the_restore(box, tmp_path, "echo 'psql:<stdin>:3: ERROR:  no' >&2; exit 3")
    said: list[str] = []
    assert ask(client, "restore", request(tmp_path, list=None, size=1), [b" "], said.append) == {"code": 3}
    assert said == ["psql:<stdin>:3: ERROR:  no"]


def test_a_far_end_that_cannot_is_an_error(box: Box, client: PinnedClient) -> None:
    box.stand_in("runuser", "echo 'psql: error: connection refused' >&2; exit 2")
    with pytest.raises(FarEndFailed, match="connection refused"):
        ask(client, "look", {"database": "shop"})


def test_what_failed_is_named_without_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_text("CREATE TABLE a (\n  x int\n);\n\nCREATE INDEX i ON a USING b (x);\n")
    sql = DumpFile(file, file.stat().st_size, is_custom=False)
    custom = DumpFile(file, 1, is_custom=True)
    cases: list[tuple[list[str], DumpFile, str]] = [
        (
            ["pg_restore: while PROCESSING TOC:", "pg_restore: from TOC entry 215; 1259 16400 TABLE public t legacy",
             "pg_restore: error: could not execute query: ERROR:  role \"anon\" does not exist", "Command was: secret"],
            custom, 'role "anon" does not exist (in TABLE public t); nothing was changed',
        ),
        (
            ["psql:<stdin>:9: ERROR:  extra data", 'CONTEXT:  COPY t, line 3: "secret"'],
            sql, "extra data (in the rows of t, line 3); nothing was changed",
        ),
        (["psql:<stdin>:7: ERROR:  no b"], sql, "no b (in CREATE INDEX i ON a USING b); nothing was changed"),
        (["psql:<stdin>:5: ERROR:  no a"], sql, "no a (in CREATE TABLE a); nothing was changed"),
        ([], custom, "no reason; nothing was changed"),
        (["server closed the connection"], custom, "server closed the connection; what was not committed is gone"),
    ]  # fmt: skip
    for lines, dumped, said in cases:
        error = explained(lines, dumped)
        assert error.message == said
        assert error.hint


def test_how_far_it_is() -> None:
    progress = Progress(10_000_000, 4)
    progress.moved(2_500_000)
    progress.made("TABLE public.t")
    line = progress.line()
    assert line.startswith("2 MB of 10 MB, ")
    assert line.endswith("/s, 1 of 4 objects, TABLE public.t")
    assert [size(count) for count in (999, 1500, 2_000_000, 3.25e9)] == ["999 B", "2 kB", "2 MB", "3.2 GB"]


def test_a_stack_without_databases_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BastideError, match="has no database cluster"):
        declared(Stack("prod", tmp_path, SETTINGS, MACHINES, KEYRING), "shop", "db-dump")
