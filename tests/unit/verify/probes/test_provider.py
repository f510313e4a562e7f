"""What the provider's API is asked and by whom, and that nobody is told the token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hcloud.firewalls.domain import FirewallRule
from pydantic import SecretStr

from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify.openings import described
from tests.verify.probes import provider
from tests.verify.probes.engine import Once
from tests.verify.probes.world import NotSeen, World

TOKEN = "a-token-that-nobody-may-see"
PLACE = {"id": 3, "name": "hel1", "country": "FI", "network_zone": "eu-central"}
STANDBY = next(one for one in inventory() if one.name == "standby")


def server(number: int, *firewalls: tuple[int, str], six: bool = True) -> dict[str, Any]:
    net = {
        "ipv4": {"id": 1, "ip": "198.18.0.1", "blocked": False, "dns_ptr": ""},
        "ipv6": {"id": 2, "ip": "2001:db8:1::/64", "blocked": False, "dns_ptr": []} if six else None,
        "floating_ips": [],
        "firewalls": [{"id": one, "status": status} for one, status in firewalls],
    }
    return {"id": number, "name": "x", "public_net": net, "location": PLACE}


def firewall(number: int, port: str) -> dict[str, Any]:
    rule = {"direction": "in", "protocol": "tcp", "port": port, "source_ips": ["0.0.0.0/0"], "destination_ips": []}
    return {"id": number, "name": "f", "rules": [{**rule, "description": None}], "applied_to": []}


@contextmanager
def answering(status: int, *servers: dict[str, Any]) -> Iterator[tuple[str, list[bool]]]:
    """An API that shows one server a page; yields where it is, and whether each had the token."""
    asked: list[bool] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"] == f"Bearer {TOKEN}")
            url = urlsplit(self.path)
            what, page = url.path.strip("/"), int(parse_qs(url.query).get("page", ["1"])[0])
            rows = list(servers) if what == "servers" else [firewall(7, "443"), firewall(8, "22")]
            more = page + 1 if page < len(rows) else None
            numbers = {"page": page, "per_page": 1, "previous_page": None, "next_page": more, "last_page": len(rows)}
            meta = {"pagination": {**numbers, "total_entries": len(rows)}}
            found: dict[str, Any] = {what: rows[page - 1 : page], "meta": meta}
            if status != 200:
                found = {"error": {"code": "unauthorized", "message": "no", "details": {}}}
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    api = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{api.server_address[1]}", asked
    finally:
        api.shutdown()
        api.server_close()


def told(monkeypatch: pytest.MonkeyPatch, endpoint: str, token: str = TOKEN) -> tuple[str, provider.Told | None]:
    """What is told of the standby."""
    monkeypatch.setattr(provider, "_endpoint", endpoint)
    monkeypatch.setattr(provider, "_token", SecretStr(token))
    monkeypatch.setattr(provider, "_once", Once())
    return provider.asked(World("unit", SETTINGS, inventory(), Path("none")), STANDBY)


def test_a_server_is_found_on_whatever_page(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = server(1), server(2), server(int(STANDBY.id), (7, "applied"), (8, "pending"))
    with answering(200, *rows) as (endpoint, asked):
        shown, found = told(monkeypatch, endpoint)
    assert found
    assert (found.location, found.country, found.zone) == ("hel1", "FI", "eu-central")
    assert found.addresses == ("198.18.0.1", "2001:db8:1::/64")
    assert described(provider.let_in(found.rules, "tcp", "ip"), "tcp", "ip") == ["tcp/443 is open to 0.0.0.0/0"]
    assert len(asked) == 5, "a page each of three servers and two firewalls"
    assert all(asked)
    assert TOKEN not in shown + repr(found)


def test_of_a_server_without_a_firewall_everything_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, server(int(STANDBY.id), (7, "pending"), six=False)) as (endpoint, _):
        _, found = told(monkeypatch, endpoint)
    assert found
    assert found.rules is None
    assert found.addresses == ("198.18.0.1",)
    assert described(provider.let_in(None, "tcp", "ip"), "tcp", "ip") == ["tcp/all is open to 0.0.0.0/0"]


def test_an_api_that_tells_nothing_is_named_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(401) as (endpoint, _), pytest.raises(NotSeen, match="answers unauthorized") as refused:
        told(monkeypatch, endpoint)
    # nobody listens there any more
    with pytest.raises(NotSeen, match="does not answer") as silent:
        told(monkeypatch, endpoint)
    with answering(200, server(1)) as (endpoint, _), pytest.raises(NotSeen, match="knows no server") as unknown:
        told(monkeypatch, endpoint)
    for error in (refused, silent, unknown):
        assert TOKEN not in str(error.getrepr(style="long"))


def test_nobody_is_asked_without_a_token_or_of_a_server_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, "http://127.0.0.1:9", token="") == ("", None)
    theirs, world = replace(STANDBY, provider="existing"), World("unit", SETTINGS, inventory(), Path("none"))
    monkeypatch.setattr(provider, "_token", SecretStr(TOKEN))
    assert provider.asked(world, theirs) == ("", None)


def test_rules_of_other_protocols_and_directions_let_nobody_in() -> None:
    rules = [FirewallRule("out", "tcp", ["0.0.0.0/0"], "22"), FirewallRule("in", "udp", ["0.0.0.0/0"], "53")]
    assert provider.let_in(rules, "tcp", "ip") == []
