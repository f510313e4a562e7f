"""Judges what somebody outside reached of ports that only the mesh may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here


def judge_outside(
    settings: Settings, seen: dict[str, dict[str, Any]], ports: Iterable[int], note: Callable[[str], None]
) -> None:
    """`seen`: what KNOCKER (outside.py) printed, by whom or where it was tried."""
    if settings.postgres is None:
        not_provable_here("the stack file declares no databases")
    assert seen, "nothing was tried"
    for where, knock in seen.items():
        assert knock.get("ping"), f"no answer to a ping ({where}): silence proves nothing"
        states = {port: knock["ports"].get(str(port), "not tried") for port in ports}
        reached = [f"{port} ({state})" for port, state in states.items() if state != "filtered"]
        assert not reached, f"{where}: port {', '.join(reached)} can be reached"
    note(f"no answer from {', '.join(map(str, ports))} ({', '.join(seen)})")
