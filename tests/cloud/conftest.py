"""A fresh API for each test, on loopback, with clients whose every answer is judged by the published description."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hcloud
import pytest
import requests
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.cloud.app import create_app
from lab.cloud.no_machines import NoMachines
from tests.cloud.contract import Contract

TOKEN = "t" * 64
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
ADMIN_TOKEN = "s" * 64
ADMIN_DIGEST = hashlib.sha256(ADMIN_TOKEN.encode()).hexdigest()


@dataclass
class Api:
    """One API under test: its address, the machines behind it, and a session whose answers are judged."""

    url: str
    machines: NoMachines
    session: requests.Session
    state: Path
    restart: Callable[..., None]

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """Ask the API; `path` is below /v1, or starts with /_lab and is asked with the admin API's token."""
        admin = path.startswith("/_lab")
        url = self.url + path if admin else f"{self.url}/v1{path}"
        if admin:
            more.setdefault("headers", {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        response: requests.Response = self.session.request(method, url, json=body, timeout=20, **more)
        return response

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Ask, and want it done; returns the JSON."""
        response = self.ask(method, path, body)
        assert response.ok, response.text
        return response.json() if response.content else None

    def error(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Ask, and want it refused; returns status and code."""
        response = self.ask(method, path, body)
        assert response.status_code >= 400, response.text
        return response.status_code, response.json()["error"]["code"]

    def done(self, action: dict[str, Any], within: float = 10.0) -> dict[str, Any]:
        """Wait for the end of an action; returns it."""
        until = time.monotonic() + within
        while action["status"] == "running":
            assert time.monotonic() < until, f"still running: {action}"
            time.sleep(0.01)
            action = self.ok("GET", f"/actions/{action['id']}")["action"]
        return action

    def server(self, name: str = "web", **more: Any) -> dict[str, Any]:
        """Create a server and wait until all of its actions have ended; returns it as it is then."""
        order = {"name": name, "server_type": "cx23", "image": "debian-13", "location": "fsn1", **more}
        made = self.ok("POST", "/servers", order)
        for action in [made["action"], *made["next_actions"]]:
            assert self.done(action)["status"] == "success"
        server: dict[str, Any] = self.ok("GET", f"/servers/{made['server']['id']}")["server"]
        return server


class _Stage:
    """An ASGI application that passes on to whichever is being tested: one server serves all tests."""

    app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract()


@pytest.fixture(scope="session")
def stage() -> Iterator[tuple[_Stage, str]]:
    stage = _Stage()
    port = free_port()
    config = uvicorn.Config(stage, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield stage, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def judged(contract: Contract) -> Callable[[requests.Session], requests.Session]:
    """Makes a session's answers be judged; returns it."""

    def judge(response: requests.Response, *_: Any, **__: Any) -> None:
        path = urlsplit(response.request.url or "").path
        if path.startswith("/v1/"):
            assert all(f"RateLimit-{name}" in response.headers for name in ("Limit", "Remaining", "Reset"))
            contract.judge(response.request.method or "", path[3:], response.status_code, response.content)

    def attach(session: requests.Session) -> requests.Session:
        session.hooks["response"].append(judge)
        return session

    return attach


@pytest.fixture
def api(
    stage: tuple[_Stage, str],
    tmp_path: Path,
    judged: Callable[[requests.Session], requests.Session],
    request: pytest.FixtureRequest,
) -> Iterator[Api]:
    """A fresh API. More for `create_app`: `@pytest.mark.parametrize("api", [{"action_delay": 0.2}], indirect=True)`."""
    session = judged(requests.Session())
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    machines = NoMachines()
    state = tmp_path / "state.json"

    def start(**more: Any) -> None:
        stage[0].app = create_app(state, DIGEST, machines, admin_sha256=ADMIN_DIGEST, **more)

    start(**getattr(request, "param", {}))
    yield Api(stage[1], machines, session, state, start)
    session.close()
    assert machines.broken == []


@pytest.fixture
def client(api: Api, judged: Callable[[requests.Session], requests.Session]) -> hcloud.Client:
    """The official Python client, pointed at the API. (Tests take it as Any: its types make every field optional.)"""
    client = hcloud.Client(TOKEN, api_endpoint=f"{api.url}/v1", poll_interval=0.02, timeout=20)
    judged(client._client._session)
    return client


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(true: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until something is true, at most `within` seconds."""
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until, "it did not become true"
        time.sleep(0.01)
