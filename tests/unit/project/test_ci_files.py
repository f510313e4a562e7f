"""The ready CI files parse, every command in them exists, and what is secret goes to reviewed code alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hosts.__main__ import COMMANDS as HOSTS
from stacks.__main__ import COMMANDS as STACKS

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "docs" / "ci").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def scripts(data: Any, key: str = "") -> Iterator[str]:
    """Every shell line of a file, wherever its dialect puts it."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from scripts(value, name)
    elif isinstance(data, list):
        for item in data:
            yield from scripts(item, key)
    elif key in ("run", "script", "before_script", "after_script"):
        yield str(data)


def jobs(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    return dict(document.get("jobs", document))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_has_the_three_jobs_and_every_command_exists(path: Path) -> None:
    found = jobs(path)
    assert {"check", "plan", "verify"} <= set(found)
    text = "\n".join(scripts(found))
    assert set(re.findall(r"\bmake ([a-z-]+)", text.replace("openssh-client git make", ""))) <= TARGETS
    known = {"hosts": {command.name for command in HOSTS}, "stacks": {command.name for command in STACKS}}
    for module, verb in re.findall(r"python -m (bastide|hosts|stacks|lab|tools) ([a-z-]+)", text):
        if module in known:
            assert verb in known[module], f"python -m {module} {verb}"
        else:
            assert f'"{verb}"' in (ROOT / module / "__main__.py").read_text(), f"python -m {module} {verb}"
    for name in re.findall(r"requirements\.txt|tests/verify", text):
        assert (ROOT / name).exists()
    assert "--junitxml" in "\n".join(scripts(found["verify"]))
    assert "evidence.json" in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_verify_gets_no_passphrase_and_no_token(path: Path) -> None:
    text = yaml.dump(jobs(path)["verify"]).lower()
    assert "passphrase" not in text
    assert "token" not in text
    assert "pulumi" not in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_holds_a_secret_runs_no_code_of_a_pull_request(path: Path) -> None:
    """Neither that of forks nor that of a branch of one's own: a plan looks at what was reviewed."""
    for word in ("check", "plan", "verify"):
        job = jobs(path)[word]
        secret = re.search(r"secrets\.|_FILE", str(job))
        if word == "check":
            assert not secret, "check holds a secret"
            continue
        assert secret
        condition = job["if"] if "if" in job else " ".join(rule["if"] for rule in job["rules"])
        assert "pull_request" not in condition
        assert "merge_request" not in condition
        assert "refs/heads/main" in condition or "CI_COMMIT_REF_PROTECTED" in condition
        assert "bastide" in (job.get("runs-on") or job["tags"]), f"{word} runs on a runner of somebody else"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_secret_is_readable_by_others(path: Path) -> None:
    for job in ("plan", "verify"):
        text = "\n".join(scripts(jobs(path)[job]))
        assert "umask 077" in text or "install -m 600" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_runner_of_ones_own_keeps_no_key(path: Path) -> None:
    """Whatever the job came to: a step that always runs takes away what an earlier one wrote."""
    for word in ("plan", "verify"):
        job = jobs(path)[word]
        always = [step.get("run", "") for step in job.get("steps", ()) if step.get("if") == "always()"]
        text = "\n".join([*always, *scripts({"script": job.get("after_script", [])})])
        assert 'rm -f "$(.venv/bin/python -m hosts identity' in text, f"{word} leaves the key"
        assert ("passphrase" in text) == (word == "plan"), f"{word} leaves the passphrase"
        whole = "\n".join(scripts(job))
        assert "~/.ssh/bastide" not in whole, "the stack file says where the key is"


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "gitlab"], ids=lambda path: path.stem)
def test_actions_of_others_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)", path.read_text())
    assert used
    for action in used:
        own = action.startswith("https://data.forgejo.org/forgejo/")
        assert own or re.fullmatch(r".+@[0-9a-f]{40}", action), action


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "forgejo"], ids=lambda path: path.stem)
def test_a_plan_waits_for_a_reviewer(path: Path) -> None:
    assert jobs(path)["plan"]["environment"] == "plan"


def test_there_is_one_for_each_forge() -> None:
    assert [path.stem for path in FILES] == ["forgejo", "github", "gitlab"]
