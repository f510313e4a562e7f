"""`lab status`: a lab of which a part is dead is broken, and says which."""

from __future__ import annotations

from typing import Any

import pytest

from lab import daemon, registry, status
from lab.machines import delay, resolver, router
from lab.place import Place
from lab.services import service

HERE = Place("lab", "lab12345", 3)


@pytest.mark.parametrize("dead", ["names", "archive", "resolver"])
def test_a_lab_with_a_dead_part_is_broken_and_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dead: str
) -> None:
    def yes(*given: Any) -> bool:
        return True

    for owner, name in ((router, "ready"), (daemon, "running"), (daemon, "answers"), (delay, "running")):
        monkeypatch.setattr(owner, name, yes)
    monkeypatch.setattr(registry, "find", lambda name: HERE)
    monkeypatch.setattr(registry, "read_json", lambda path: {"port": 20000} if path.name == "lab.json" else {})
    monkeypatch.setattr(resolver, "running", lambda here: dead != "resolver")
    monkeypatch.setattr(service, "running", lambda here, who: who.name != dead)
    found = status.look("lab")
    assert not found["up"]
    assert [part for part, works in found["parts"].items() if not works] == [dead]
    monkeypatch.setattr(status, "look", lambda name: {**found, "machines": [machine()]})
    assert status.show("lab", as_json=False) == 3
    assert f"broken ({dead}), `lab up` repairs it" in capsys.readouterr().out
    held, loose = {"id": 7, "size_gb": 10, "machine": 1}, {"id": 8, "size_gb": 20, "machine": None}
    monkeypatch.setattr(status, "look", lambda name: {**found, "machines": [machine()], "volumes": [held, loose]})
    status.show("lab", as_json=False)
    said = capsys.readouterr().out
    assert "volumes: 7 (10 GB)" in said
    assert "volumes in no machine: 8 (20 GB)" in said


def machine() -> dict[str, Any]:
    texts = dict.fromkeys(("name", "state", "address", "address6"), "")
    return {**texts, "id": 1, "filled": False, "snapshots": []}
