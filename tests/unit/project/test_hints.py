"""What hints, comments and pages say to type exists: make's targets and variables, commands of hosts and stacks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.command_line import Parser
from bastide.console import run
from hosts.__main__ import parser as hosts
from stacks.__main__ import parser as stacks

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"\$\((?:if |or )?\$?\(?([a-z]+)[),]", MAKEFILE))
ROOMS = ("bastide", "benchmarks", "deploys", "hosts", "lab", "stacks", "templates", "tests", "tools")
# what was typed then is history
PAST = ("docs/decisions", "CHANGELOG.md")
PARSERS: dict[str, Parser] = {"hosts": hosts(), "stacks": stacks()}


def files() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))
        yield from sorted((ROOT / room).rglob("*.j2"))
    yield from (ROOT / "stacks/Pulumi.example.yaml", ROOT / "Makefile")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if not str(page.relative_to(ROOT)).startswith(PAST):
            yield page


def typed(start: str) -> list[tuple[str, str]]:
    """Every command that begins with `start`, and where it stands: in backticks, in a page's block, in a recipe."""
    found = []
    for path in files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            spans = re.findall(r"`([^`]+)`", line)
            if path.suffix == ".md" and line.startswith("    "):
                # what is said of a command stands behind some spaces
                spans.append(re.split(r"\s{2,}|\s#", line.strip())[0])
            elif path.name == "Makefile" and line.startswith("\t") and "echo" not in line:
                spans.append(_expanded(line))
            for command in (command for span in spans for command in re.split(r"&&|;|\||\s>", span)):
                _, begins, rest = f" {command.replace('$(', ' ')}".partition(f" {start} ")
                if begins:
                    found.append((f"{path.relative_to(ROOT)}:{number}", f"{start} {rest.strip()}"))
    return found


def test_what_is_typed_behind_make_reaches_no_make_that_a_program_of_it_calls() -> None:
    """Else `make test-full only=alerts` has its rehearsal deploy the capability of that name alone."""
    names = {*re.findall(r"^([a-z]+) \?=", MAKEFILE, re.MULTILINE), "stack", "lab", "verbose", "publish"}
    shown = ["make", "--no-print-directory", "--eval", "shown: ; @env", "shown"]
    done = run([*shown, *(f"{name}=typed" for name in sorted(names - {"PYTHON"}))], cwd=ROOT)
    assert "PATH=" in done.stdout
    # make tells those that it calls itself by MAKEFLAGS, which a rehearsal leaves out
    assert [line for line in done.stdout.splitlines() if line.partition("=")[2] == "typed"] == []


def _expanded(line: str) -> str:
    """A line of a recipe without what is said only sometimes, and with a word for each variable."""
    before = ""
    while line != before:
        before, line = line, re.sub(r"\$\((if )?[^$()]*\)", lambda found: "" if found[1] else "x", line)
    return line


def words(said: str) -> list[str]:
    """As a shell takes it; what a format string fills in stands for one word."""
    return shlex.split(re.sub(r"[][()\"']", "", re.sub(r"\{[^{}]*\}", "x", said)))


def wrong_target(said: str) -> str:
    """What make would not know of a line, "" when it knows all."""
    for word in words(said)[1:]:
        name, equals, _ = word.partition("=")
        if equals and name not in VARIABLES:
            return f"the variable {name}"
        if not equals and re.fullmatch(r"[a-z-]+", word) and word not in TARGETS:
            return f"the target {word}"
    return ""


def test_every_target_and_variable_of_make_exists() -> None:
    lines = typed("make")
    assert len(lines) > 50
    wrong = [f"{where}: `{said}`: {what}" for where, said in lines if (what := wrong_target(said))]
    assert wrong == []


@pytest.mark.parametrize("room", PARSERS)
def test_every_command_is_one_that_the_parser_takes(room: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    lines = typed(f"python -m {room}")
    assert len(lines) > 5
    for where, said in lines:
        line = words(said)[3:]
        if line[0] == "COMMAND":
            continue
        try:
            PARSERS[room].parse_args(line)
        except SystemExit:
            wrong.append(f"{where}: `{said}`: {capsys.readouterr().err.splitlines()[0]}")
    assert wrong == []


def test_what_does_not_exist_is_seen() -> None:
    assert wrong_target("make rekey") == "the target rekey"
    assert wrong_target("make up stack={stack} colour=red") == "the variable colour"
    assert wrong_target("make infra deploy stack=prod limit=db") == ""
