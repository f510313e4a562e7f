"""The one program of the checks' account: what it takes, and all that it does not."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bastide.console import run
from bastide.layout import users as layout
from deploys import checks, users
from deploys.remote import gate
from tests.unit.deploys.box import CHECKS_KEY, GUARDED, SETTINGS

ECHO = 'echo "$1" "${2-none}" "$(cat)"; echo problem >&2; exit 3'
LISTED = {hashlib.sha256(ECHO.encode()).hexdigest(): "echo"}


def script(text: str = ECHO, *words: str, key: str = "k", merged: bool = False) -> dict[str, Any]:
    return {"key": key, "text": text, "words": list(words), "merged": merged}


def test_a_listed_script_runs_with_its_words_and_reads_nothing() -> None:
    answer = gate.answered([script(ECHO, "a"), script(ECHO, "b", "::1", key="m", merged=True)], LISTED)
    assert answer["refused"] == {}
    assert answer["outputs"] == {
        "k": {"code": 3, "out": "a none \n", "err": "problem\n"},
        "m": {"code": 3, "out": "b ::1 \nproblem\n", "err": ""},
    }


@pytest.mark.parametrize("text", ["", "id", f"{ECHO}\n", f" {ECHO}", ECHO.upper()])
def test_another_text_is_refused_and_those_beside_it_run(text: str) -> None:
    answer = gate.answered([script(text), script(key="listed")], LISTED)
    assert answer["refused"] == {"k": "it is not listed"}
    assert set(answer["outputs"]) == {"listed"}


@pytest.mark.parametrize("word", ["", "-x", "/etc/shadow", "$(id)", "a b", "a;b", "a\n", "a\0", "é", "ａ", "a" * 257])
def test_what_is_no_word_is_refused(word: str) -> None:
    answer = gate.answered([script(ECHO, "a", word)], LISTED)
    assert answer["outputs"] == {}
    assert "is no word for it" in answer["refused"]["k"]


@pytest.mark.parametrize(
    "request_",
    [
        b"null", b"[]", b"{}", b"\xff", b"{", b'{"scripts": []}', b'{"scripts": {}}', b'{"scripts": [1]}',
        b"[" * 100_000,
        *(json.dumps({"scripts": [one]}).encode() for one in (
            {}, script() | {"more": 1}, script() | {"key": 1}, script() | {"text": None}, script() | {"words": "ab"},
            script() | {"words": [1]}, script() | {"merged": "yes"}, script() | {"words": ["a"] * (gate.WORDS + 1)},
        )),
        json.dumps({"scripts": [script()] * (gate.SCRIPTS + 1)}).encode(),
        b'{"scripts": [{"key": "k", "text": "\\ud800", "words": [], "merged": true}]}',
        b"[" + b" " * gate.REQUEST_BYTES + b"]",
    ],
)  # fmt: skip
def test_a_request_of_another_form_is_refused_whole(request_: bytes) -> None:
    with pytest.raises(gate.Refused):
        gate.parsed(request_)


def test_no_request_asks_for_nothing() -> None:
    assert gate.parsed(b"") == []


def test_a_list_that_others_could_have_written_counts_for_nothing(tmp_path: Path) -> None:
    path, me = tmp_path / "list", os.getuid()
    path.write_text(f"# a head\n{'a' * 64}  one\n{'b' * 64}\nc  two\n{'d' * 63}  three\n")
    path.chmod(0o644)
    assert gate.read_list(str(path), me) == {"a" * 64: "one"}
    link = tmp_path / "link"
    link.symlink_to(path)
    for wrong, owner in ((path, me + 1), (link, me), (tmp_path, me), (tmp_path / "none", me)):
        with pytest.raises(gate.Refused):
            gate.read_list(str(wrong), owner)
    for mode in (0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(gate.Refused, match="others than root"):
            gate.read_list(str(path), me)


def test_a_script_that_does_not_end_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    monkeypatch.setattr(gate, "SECONDS", 0.5)
    answer = gate.answered([script(text)], {hashlib.sha256(text.encode()).hexdigest(): "long"})
    assert answer["outputs"]["k"]["code"] < 0
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"


def test_nothing_of_the_callers_environment_reaches_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_CANARY", "1")
    monkeypatch.setenv("PATH", "/canary")
    answer = gate.answered([script("env")], {hashlib.sha256(b"env").hexdigest(): "env"})
    assert "canary" not in answer["outputs"]["k"]["out"].lower()


def test_it_keeps_to_the_layout_and_is_whole() -> None:
    assert (gate.LISTED, gate.WORD) == (layout.LISTED, layout.WORD)
    program = users.gate_file(GUARDED)
    assert (program.path, program.mode, program.owner) == (layout.GATE, 0o755, "root")
    text = str(program.content)
    assert text.startswith("#!/usr/bin/python3 -IS\n")
    assert text.endswith(f'main("{layout.GATE}")\n')
    imported = {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}
    assert imported <= sys.stdlib_module_names
    listed = checks.list_file({"b" * 64: "two", "a" * 64: "one"})
    assert (listed.path, listed.mode, listed.owner) == (layout.LISTED, 0o644, "root")
    assert str(listed.content).splitlines()[1:] == [f"{'a' * 64}  one", f"{'b' * 64}  two"]


def test_without_an_account_nothing_is_left() -> None:
    assert users.gate_file(SETTINGS.users).content is None
    assert checks.list_file(None).content is None
    texts = "".join(str(file.content) for file in users.key_files(SETTINGS.users))
    assert layout.GATE not in texts


def test_its_keys_open_the_program_and_sudo_lets_it_run_that() -> None:
    files = {file.path: str(file.content) for file in users.key_files(GUARDED)}
    line = files[f"{layout.KEY_DIR}/verify"].splitlines()[1]
    assert line == f'restrict,command="{layout.GATE}" {CHECKS_KEY}'
    assert f'verify ALL=(root) NOPASSWD: {layout.GATE} ""' in files[layout.SUDOERS].splitlines()


def test_whoever_is_not_root_and_wants_a_shell_is_told(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root is not asked what ssh was told")
    path = tmp_path / "gate"
    path.write_text(str(users.gate_file(GUARDED).content))
    done = run([sys.executable, "-IS", str(path)], env={"SSH_ORIGINAL_COMMAND": "id"}, check=False)
    assert (done.returncode, "nothing else" in done.stdout) == (77, True)
