"""The command line of `python -m hosts`: each command knows its own arguments and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.__main__ import COMMANDS, parser

NAMES = [command.name for command in COMMANDS]
OWN = {
    "plan": ["--json"],
    "drift": ["--json"],
    "status": ["--json"],
    "rekey": ["--finish"],
    "resize": ["--machine", "--grow-disk", "--force"],
    "vpn": ["--person", "--new-key"],
    "db-password": ["--role", "--to"],
    "db-dump": ["--database", "--to", "--machine", "--schema-only"],
    "db-import": ["--database", "--from", "--force"],
}


def test_every_module_of_the_commands_is_one() -> None:
    modules = {path.stem for path in (Path(__file__).parents[3] / "hosts/commands").glob("*.py")} - {"__init__"}
    assert sorted(name.replace("-", "_") for name in NAMES) == sorted(modules)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        parser().parse_args(words)
    said = capsys.readouterr()
    what, following = said.err.splitlines()
    assert said.out == ""
    assert what.startswith("error: python -m hosts")
    assert following.startswith(" next: `python -m hosts")
    return int(left.value.code or 0), what


@pytest.mark.parametrize("name", NAMES)
def test_a_command_knows_its_own_arguments_and_no_others(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = OWN.get(name, [])
    for flag in {flag for flags in OWN.values() for flag in flags}:
        value = ["x"] if flag in ("--database", "--from", "--machine", "--person", "--role", "--to") else []
        if flag in own:
            known = "source" if flag == "--from" else flag[2:].replace("-", "_")
            assert vars(parser().parse_args([name, flag, *value]))[known] in (True, "x")
        else:
            _, what = refused(capsys, name, flag, *value)
            assert what == f"error: python -m hosts {name}: unrecognized arguments: {' '.join([flag, *value])}"


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_wrong_usage_means_nothing_else_by_that_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 says of some that something differs or has a next step (docs/reference/exit-codes.md)."""
    code, _ = refused(capsys, name, "--surprise")
    assert code == (1 if name in ("plan", "drift", "status", "audit") else 2)


@pytest.mark.parametrize("words", [(), ("surprise",), ("--surprise", "plan"), ("plan", "twice"), ("plan", "--stack")])
def test_wrong_words_are_refused_in_two_lines(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *words)


def test_the_stack_may_stand_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASTIDE_STACK", "other")
    said = [["plan"], ["plan", "--stack", "prod"], ["--stack", "prod", "plan"]]
    assert [parser().parse_args(words).stack for words in said] == ["other", "prod", "prod"]
    monkeypatch.delenv("BASTIDE_STACK")
    assert parser().parse_args(["plan"]).stack == "lab"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parser().parse_args(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert all(f"\n    {name} " in said for name in NAMES)
