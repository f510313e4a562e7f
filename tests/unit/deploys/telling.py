"""Machines that tell each other what is wrong, round by round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys.alerts.program import watch
from lab.services import sink_server

ORDER = ["witness", "standby", "primary"]
FINDING = {"what": "the unit x has failed", "since": 100.0, "next": "look", "event": False, "last": 100.0}


class Machine:
    """One machine of three with a program of its own: its time, what is wrong with it, and what the sink took."""

    def __init__(self, name: str, folder: Path, sink: dict[str, Any], peers: dict[str, str], **config: Any) -> None:
        values = {
            "stack": "prod", "name": name, "order": ORDER, "peers": peers, "address": "127.0.0.1", "port": None,
            "mail": sink["mail"], "webhook": True, "heartbeat_minutes": 5, "certificate": sink["certificate"],
            "repeat_hours": 24, "silent_minutes": 3, "disk_percent": 90, "certificates": [], "cluster": None, **config,
        }  # fmt: skip
        secrets = {"mail_password": "s3cret", "webhook_url": f"{sink['url']}/hook/h",
                   "heartbeat_url": f"{sink['url']}/beat/b"}  # fmt: skip
        self.watch = watch.Watch(values, secrets, folder / f"{name}.json")
        self.wrong: dict[str, Any] = {}
        self.view: dict[str, Any] | None = None

    def round(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A round in which this is wrong with it, and its Patroni says this."""

        def collect(config: Any, memory: Any, now: float, more: Any) -> dict[str, Any]:
            for look in more.values():
                look()
            return dict(self.wrong)

        monkeypatch.setattr(watch, "collect", collect)
        monkeypatch.setattr(watch, "own_view", lambda path: self.view)
        self.watch.round()


def came(way: str = "mail") -> list[str]:
    """Subjects of what came by mail, or how many calls."""
    found = [one for one in sink_server.KEPT.show()["messages"] if one["way"] == way]
    return [one.get("subject", "") for one in found]


def rounds(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch, names: list[str], times: int = 1) -> None:
    for _ in range(times):
        for name in names:
            world[name].round(monkeypatch)
