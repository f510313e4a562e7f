"""From files as they are to commands, without a machine: what is written, and what is shown of it."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import SecretStr

from deploys.facts.fact import Facts
from deploys.facts.files import CONTENTS
from deploys.operations import files
from tests.unit.deploys.operating import NOTHING, seen, sent


@pytest.mark.parametrize(
    ("there", "left", "written"),
    [
        (seen(b"new"), NOTHING, None),
        (seen(b"old"), NOTHING, ["/etc/one"]),
        (seen(b"new", 0o600), NOTHING, ["/etc/one"]),
        (None, NOTHING, ["/etc/one"]),
        # killed between writing and settling: nothing is to be written, but to be settled
        (seen(b"new"), {"pending": ["set"], "guard": []}, []),
    ],
)
def test_files(host, there, left, written):
    host.answer = {"files": {"/etc/one": there}, "unfinished": left}
    made = list(files.files._inner(name_="set", wanted=(files.File("/etc/one", "new"),), settle="reload"))
    if written is None:
        assert made == []
    else:
        (plan,) = sent(made[0])
        assert [file["path"] for file in plan["files"]] == written
        assert plan["settle"] == "reload"


def test_a_file_that_shall_not_exist(host):
    host.answer = {"files": {"/etc/one": seen()}, "unfinished": NOTHING}
    made = list(files.files._inner(name_="set", wanted=(files.File("/etc/one", None),)))
    assert sent(made[0])[0]["files"][0]["content"] is None


def test_a_secret_is_shown_nowhere(host):
    host.state.config.DIFF = True
    host.answer = {"files": {"/etc/s": seen()}, "unfinished": NOTHING}
    (made,) = list(files.secret_file._inner("/etc/s", SecretStr("CANARY")))
    shown = f"{made} {made!r} {made.connector_arguments} {files.File('/etc/s', SecretStr('CANARY'))!r} {host.said}"
    assert "CANARY" not in shown
    assert base64.b64encode(b"CANARY").decode() not in shown
    file = sent(made)[0]["files"][0]
    assert base64.b64decode(file["content"]) == b"CANARY"
    assert (file["mode"], file["owner"]) == (0o600, "root")


def test_differences_are_listed_for_a_plan(host, monkeypatch, tmp_path):
    listed = tmp_path / "files.jsonl"
    host.data = {"differences": str(listed)}
    monkeypatch.setattr(files, "ask", lambda host, *_: Facts({"contents": {"/etc/one": "old\n", "/etc/gone": "x\n"}}))
    wanted = (
        files.File("/etc/one", "new\n", mode=0o600),
        files.File("/etc/gone", None),
        files.File("/etc/s", SecretStr("CANARY")),
    )
    there = {"/etc/one": seen(b"old\n"), "/etc/gone": seen(b"x\n"), "/etc/s": None}
    files.differing(host, wanted, Facts({"files": there}))
    assert "CANARY" not in listed.read_text()
    assert [json.loads(line) for line in listed.read_text().splitlines()] == [
        {"machine": "primary", "path": "/etc/one", "secret": False, "diff": ["@@ -1 +1 @@", "-old", "+new"],
         "note": "0644 root root becomes 0600 root root"},
        {"machine": "primary", "path": "/etc/gone", "secret": False, "diff": ["@@ -1 +0,0 @@", "-x"],
         "note": "removed"},
        {"machine": "primary", "path": "/etc/s", "secret": True, "diff": [], "note": "new"},
    ]  # fmt: skip
    assert host.said == []


@pytest.mark.parametrize(("mode", "shown"), [(0o600, False), (0o640, False), (0o644, True)])
def test_the_text_of_a_removed_file_is_shown_only_when_all_could_read_it(host, monkeypatch, tmp_path, mode, shown):
    """It may have been a secret: who removes a file does not say what it was."""
    listed = tmp_path / "files.jsonl"
    host.state.config.DIFF = True
    host.data = {"differences": str(listed)}
    asked = []

    def ask(host, request):
        asked.extend(request[CONTENTS])
        return Facts({"contents": {"/etc/gone": "CANARY\n"}})

    monkeypatch.setattr(files, "ask", ask)
    wanted = (files.File("/etc/gone", None),)
    files.differing(host, wanted, Facts({"files": {"/etc/gone": seen(b"CANARY\n", mode)}}))
    (entry,) = [json.loads(line) for line in listed.read_text().splitlines()]
    assert (entry["secret"], entry["note"]) == (not shown, "removed")
    assert ("CANARY" in listed.read_text(), "CANARY" in str(host.said), bool(asked)) == (shown, shown, shown)


def test_differences_are_shown_once_on_demand(host, monkeypatch):
    host.state.config.DIFF = True
    monkeypatch.setattr(files, "ask", lambda host, *_: Facts({"contents": {"/etc/one": "old\n"}}))
    wanted = (files.File("/etc/one", "new\n"),)
    for _ in ("prepare", "execute"):
        files.differing(host, wanted, Facts({"files": {"/etc/one": seen(b"old\n")}}))
    assert [line.strip() for line in host.said if "new" in line or "old" in line] == ["-old", "+new"]
