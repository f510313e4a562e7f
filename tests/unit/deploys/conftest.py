"""What tests of deploys share: a host that is none; the lab's sink on loopback, and machines that read each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploys.alerts.program.peers import Peers, Publisher
from deploys.facts.fact import Facts
from deploys.operations import (
    admit,
    confirmed,
    files,
    groups,
    homes,
    links,
    modes,
    mounts,
    packages,
    shells,
    units,
    volumes,
    wait,
)
from lab.services import sink_server
from lab.services.certificate import CERTIFICATE, KEY, make_certificate
from tests.unit.deploys.box import ALERTS
from tests.unit.deploys.operating import NOTHING, Fake
from tests.unit.deploys.telling import ORDER, Machine

_ASKING = (
    admit,
    confirmed,
    files,
    groups,
    homes,
    links,
    modes,
    mounts,
    packages,
    shells,
    units,
    volumes,
    wait,
)
"""Operations that ask the machine at hand."""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """What operations ask and tell."""
    fake = Fake(
        name="primary",
        said=[],
        answer={"unfinished": NOTHING},
        data={},
        state=SimpleNamespace(is_executing=True, config=SimpleNamespace(DIFF=False)),
        noop=lambda text: None,
    )
    fake.log = fake.said.append
    for module in _ASKING:
        monkeypatch.setattr(module, "this_host", lambda: fake, raising=False)
        monkeypatch.setattr(module, "ask", lambda host, *requests: Facts(fake.answer), raising=False)
        monkeypatch.setattr(module, "forget", lambda host: None, raising=False)
    return fake


@pytest.fixture
def sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The lab's sink on loopback."""
    for name, value in (("USER", "alerts"), ("PASSWORD", "s3cret"), ("HOOK", "h"), ("BEAT", "b"), ("TOKEN", "t")):
        monkeypatch.setenv(f"SINK_{name}", value)
    for name, content in make_certificate("sink", ["127.0.0.1"]).items():
        (tmp_path / name).write_bytes(content)
    sink_server.KEPT.clear()
    servers = sink_server.servers("127.0.0.1", str(tmp_path / CERTIFICATE), str(tmp_path / KEY), (0, 0, 0))
    threads = [threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True) for one in servers]
    for thread in threads:
        thread.start()
    https, smtp, smtps = (one.server_address[1] for one in servers)
    mail = {**ALERTS["mail"], "host": "127.0.0.1", "port": smtp, "tls": "starttls"}
    implicit = {**mail, "port": smtps, "tls": "tls"}
    trusted = str(tmp_path / CERTIFICATE)
    yield {"mail": mail, "implicit": implicit, "url": f"https://127.0.0.1:{https}", "certificate": trusted}
    for one in servers:
        one.shutdown()
        one.server_close()


@pytest.fixture
def world(tmp_path: Path, sink: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Machine]:
    """Three machines that read each other's pages; who is in `off` answers nobody."""
    pages: dict[str, Any] = {}
    machines = {
        name: Machine(name, tmp_path, sink, {other: other for other in ORDER if other != name}, port=1)
        for name in ORDER
    }
    monkeypatch.setattr(Publisher, "show", lambda self, page: pages.update({page["name"]: page}))
    monkeypatch.setattr(Peers, "_ask", lambda self, address: pages.get(address))
    machines["pages"] = pages  # type: ignore[assignment]
    return machines
