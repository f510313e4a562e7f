"""What a machine's turn at night means for the databases; and the program that is left there for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys import remote
from deploys.remote import turn
from deploys.remote.facts.programs import SANDBOX

PLAN: dict[str, Any] = {"name": "primary", "data": "/data", "pool": {"leader": "primary"}}


class Site:
    """A site; `done` is what was done there."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        part: str,
        services: tuple[str, ...],
        *,
        leads: bool,
        reason: str = "replaced",
    ) -> None:
        self.done: list[str] = []
        why = {unit: reason * (unit in services) for unit in ("pgbouncer.service", "haproxy.service")}
        monkeypatch.setattr(turn, "outdated", lambda units: {unit: why[unit] for unit in units})
        monkeypatch.setattr(turn, "outdated_part", lambda data: part)
        monkeypatch.setattr(turn, "leads", lambda plan, alone=True: leads)
        monkeypatch.setattr(turn, "wait_out", lambda plan: self.done.append(f"clients wait for {plan['leader']}"))
        monkeypatch.setattr(turn, "roll", lambda plan, leads, whole: self.done.append(f"roll {leads} {whole}"))
        monkeypatch.setattr(turn, "restart_router", lambda plan: self.done.append("restart haproxy, clients wait"))
        monkeypatch.setattr(turn, "switchover", lambda plan, to: self.done.append(f"switchover{to}"))
        monkeypatch.setattr(turn, "_systemctl", lambda *words: self.done.append(" ".join(words)))

    def told(self, tmp_path: Path, word: str) -> list[str]:
        (tmp_path / "turn.json").write_text(json.dumps(PLAN))
        turn.turn(str(tmp_path / "turn.json"), word)
        return self.done


def test_a_leader_hands_over_while_clients_wait_and_then_the_ways_to_it_follow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = Site(monkeypatch, "patroni", ("pgbouncer.service", "haproxy.service"), leads=True)
    assert site.told(tmp_path, "take") == [
        "clients wait for primary",
        "roll True True",
        "restart pgbouncer.service",
        "reload haproxy.service",
    ]


def test_a_replica_is_restarted_and_what_is_at_work_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Site(monkeypatch, "postgres", (), leads=False).told(tmp_path, "take") == ["roll False False"]
    assert Site(monkeypatch, "", (), leads=True).told(tmp_path, "take") == []


def test_a_sandbox_that_changed_takes_a_restart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = Site(monkeypatch, "", ("haproxy.service",), leads=True, reason=SANDBOX)
    assert site.told(tmp_path, "take") == ["restart haproxy, clients wait"]


def test_who_leaves_hands_over_if_it_leads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Site(monkeypatch, "", (), leads=True).told(tmp_path, "leave") == ["clients wait for primary", "switchover"]
    assert Site(monkeypatch, "patroni", (), leads=False).told(tmp_path, "leave") == []


def test_what_waits_is_named_and_another_word_does_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(monkeypatch, "patroni", ("haproxy.service",), leads=True)
    assert site.told(tmp_path, "look") == []
    assert capsys.readouterr().out.split() == ["patroni", "haproxy"]
    with pytest.raises(SystemExit):
        site.told(tmp_path, "restart")
    assert site.done == []


def test_what_is_left_on_a_machine_runs_there(tmp_path: Path) -> None:
    """By itself: nothing else of the project is there, and an unknown word ends it."""
    path = tmp_path / "20-postgres"
    plan = tmp_path / "plan.json"
    plan.write_text("{}")
    path.write_text(remote.program("turn", "turn", str(plan), about="what it is for"))
    path.chmod(0o755)
    done = subprocess.run([path, "dance"], capture_output=True, text=True, check=False, cwd="/", env={})
    assert (done.returncode, done.stderr) == (1, "one word: look, take or leave\n")
