"""A stack's configuration as Pulumi opens it, and that it is read in one place."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from bastide.errors import StackError
from bastide.provider import UPSTREAM_ENDPOINT
from bastide.pulumi_config import config_from

ROOT = Path(__file__).parents[3]
MASTER = "5ec4e7" * 10 + "beef"
SECRETS = {
    "master": {"v1": MASTER},
    "storage": {"access_key": "a", "secret_key": "s3cret"},
    "dns": {"token": "of-the-zones"},
}
CONFIG = {
    "hcloud:endpoint": {"value": "http://127.0.0.1:20000/v1", "secret": False},
    "hcloud:token": {"value": "0wn", "secret": True},
    "bastide:secrets": {"value": "", "objectValue": SECRETS, "secret": True},
}


def test_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN", raising=False)
    found = config_from("unit", CONFIG)
    assert found.keyring().masters["v1"].get_secret_value().hex() == MASTER
    assert (found.storage_keys().access, found.storage_keys().secret.get_secret_value()) == ("a", "s3cret")
    assert (found.access().endpoint, found.access().token) == ("http://127.0.0.1:20000/v1", "0wn")
    assert found.access(dns=True).token == "of-the-zones"


def test_what_is_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "around")
    found = config_from("unit", {})
    assert (found.token, found.access().token, found.access().endpoint) == ("", "around", UPSTREAM_ENDPOINT)
    with pytest.raises(StackError, match="no master secret"):
        found.keyring()
    with pytest.raises(StackError, match="no keys"):
        found.storage_keys()


def test_no_secret_is_shown() -> None:
    found = config_from("unit", CONFIG)
    shown = f"{found!r} {found} {found.access()!r} {found.keyring()!r} {found.storage_keys()!r}"
    for secret in (MASTER, "0wn", "s3cret", "of-the-zones"):
        assert secret not in shown


def calls(tree: ast.AST) -> list[list[str]]:
    """The plain words of every list, tuple and call, as far as they stand there in the source."""
    found = []
    for node in ast.walk(tree):
        parts: list[Any] = []
        if isinstance(node, ast.List | ast.Tuple):
            parts = node.elts
        elif isinstance(node, ast.Call):
            parts = node.args
        words = [one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        found.append(words)
    return found


def reads_secrets(words: list[str]) -> bool:
    return "--show-secrets" in words or words[:3] == ["pulumi", "config", "get"] or words[:2] == ["config", "get"]


@pytest.mark.parametrize(
    ("what", "readers"),
    [
        ("secrets", {"bastide/pulumi_config.py"}),
        ("outputs", {"hosts/stack.py"}),
        ("imports", {"hosts/stack.py", *(f"stacks/ops/{name}.py" for name in ("init", "pending_bucket", "recover"))}),
    ],
)
def test_only_these_read_what_a_stack_holds(what: str, readers: set[str]) -> None:
    found = set()
    for room in ("bastide", "stacks", "hosts", "deploys", "lab", "tools"):
        for path in (ROOT / room).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            reads = {
                "secrets": any(map(reads_secrets, calls(tree))),
                "outputs": any("output" in words and "stack" in words for words in calls(tree)),
                "imports": any(
                    isinstance(node, ast.ImportFrom) and node.module == "bastide.pulumi_config"
                    for node in ast.walk(tree)
                ),
            }
            if reads[what]:
                found.add(str(path.relative_to(ROOT)))
    assert found == readers
