"""What was set by hand in a server is taken back, and what it has not read it reads."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from deploys.facts.fact import Facts
from deploys.operations import postgres as operations
from deploys.remote import postgres as on_machine

DATA = "/var/lib/postgresql/17/bastide"
RULES = ["local all postgres peer", "host all all all reject"]
FINE: dict[str, Any] = {"by_hand": [], "rules": RULES, "unread": [], "verifiers": 0}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the operation for what a server says. Returns the scripts that it makes, and what it logs in a dry run."""

    def run(seen: dict[str, Any] | None) -> tuple[list[Any], list[str]]:
        said: list[str] = []
        host = SimpleNamespace(noop=lambda text: None, log=said.append, state=SimpleNamespace(is_executing=False))
        monkeypatch.setattr(operations, "this_host", lambda: host)
        monkeypatch.setattr(operations, "ask", lambda *_: Facts({"in_force": seen}))
        monkeypatch.setattr(operations, "forget_all", lambda _: None)
        commands = operations.in_force._inner(data=DATA, rules=RULES)
        return [command.connector_arguments["_stdin"].encode().decode() for command in commands], said

    return run


@pytest.mark.parametrize("seen", [None, FINE])
def test_a_server_that_goes_by_what_it_was_told_is_let_be(made: Any, seen: dict[str, Any] | None) -> None:
    assert made(seen) == ([], [])


def test_what_was_set_by_hand_is_taken_back_and_named_without_its_value(made: Any) -> None:
    (script,), said = made({**FINE, "by_hand": ["work_mem"]})
    assert said == ["! work_mem was set by hand (ALTER SYSTEM): it is taken back"]
    assert "postgresql.auto.conf" in script.splitlines()[-1]


def test_a_file_that_was_changed_after_it_was_read_is_read_again(made: Any) -> None:
    (script,), said = made({**FINE, "unread": ["pg_hba.conf"]})
    assert said == ["! pg_hba.conf was changed after the server read it: it is read again"]
    assert "postgresql.auto.conf" not in script.splitlines()[-1]


def test_rules_that_nobody_declared_are_written_over(made: Any) -> None:
    (script,), _ = made({**FINE, "rules": ["host all all all trust", *RULES]})
    plan = script.splitlines()[-1]
    assert RULES[0] in plan
    assert "trust" not in plan


def test_verifiers_in_the_statistics_are_forgotten(made: Any) -> None:
    """Those that an older deploy, or a person as the superuser, left there."""
    (script,), said = made({**FINE, "verifiers": 2})
    assert said == ["! the statistics of statements hold verifiers of passwords: those statements are forgotten"]
    assert "pg_stat_statements_reset(userid, dbid, queryid)" in on_machine._FORGET
    assert "postgresql.auto.conf" not in script.splitlines()[-1]


def test_files_are_written_as_the_account_that_they_belong_to(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[str, ...], str]] = []

    def run(words: tuple[str, ...], **options: Any) -> Any:
        calls.append((words, options["input"]))
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(on_machine.subprocess, "run", run)
    on_machine.put_right(DATA, {"pg_hba.conf": "local all all reject\n"})
    (written, text), (_, asked), (_, forgets) = calls
    assert written[:3] == ("runuser", "-u", "postgres")
    assert (written[-1], text) == (f"{DATA}/pg_hba.conf", "local all all reject\n")
    assert "pg_reload_conf()" in asked
    assert "pg_stat_statements_reset" in forgets


def test_what_a_deploy_says_to_a_server_is_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def run(words: tuple[str, ...], **options: Any) -> Any:
        said.append(options["input"])
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(on_machine.subprocess, "run", run)
    on_machine.execute([["postgres", "ALTER ROLE app PASSWORD 'SCRAM-SHA-256$...'"]])
    first, statement = said[0].splitlines()
    assert statement.startswith("ALTER ROLE")
    for setting in (
        *("log_statement = none", "log_min_duration_statement = -1", "log_min_error_statement = panic"),
        *("pg_stat_statements.track = none", "pg_stat_statements.track_utility = off", "track_activities = off"),
    ):
        assert f"SET {setting};" in first


def test_what_is_said_is_json(made: Any) -> None:
    (script,), _ = made({**FINE, "by_hand": ["work_mem"]})
    assert json.dumps(DATA) in script or DATA in script
