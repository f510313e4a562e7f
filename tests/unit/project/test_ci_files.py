"""The ready CI files give what is secret to reviewed code alone, on a runner of one's own, by pinned actions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

FOLDER = Path(__file__).parents[3] / "docs" / "ci"
FILES = sorted(path.name for path in FOLDER.glob("*.yml"))


def text(name: str) -> str:
    return (FOLDER / name).read_text()


def load(name: str) -> Any:
    return YAML(typ="safe").load(text(name))


def jobs(name: str) -> dict[str, Any]:
    document = load(name)
    return {word: (document.get("jobs") or document)[word] for word in ("check", "plan", "verify")}


def test_there_is_one_for_each_forge() -> None:
    assert FILES == ["forgejo.yml", "github.yml", "gitlab.yml"]


@pytest.mark.parametrize("name", FILES)
def test_what_holds_a_secret_runs_no_code_of_a_pull_request(name: str) -> None:
    for word, job in jobs(name).items():
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


@pytest.mark.parametrize("name", ["forgejo.yml", "github.yml"])
def test_actions_of_others_are_pinned_by_commit(name: str) -> None:
    used = re.findall(r"uses: (\S+)", text(name))
    assert used
    for action in used:
        own = action.startswith("https://data.forgejo.org/forgejo/")
        assert own or re.fullmatch(r".+@[0-9a-f]{40}", action), action


def test_a_plan_at_github_waits_for_a_reviewer() -> None:
    assert jobs("github.yml")["plan"]["environment"] == "plan"
    assert jobs("gitlab.yml")["plan"]["environment"] == "plan"
