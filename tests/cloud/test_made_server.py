"""What commands do to a server at the provider: never left off."""

from __future__ import annotations

from typing import Any

import pytest

from bastide.errors import StackError
from bastide.provider import Access
from hosts.transport.made_server import MadeServer
from tests.cloud.conftest import TOKEN, Api


@pytest.fixture
def server(api: Api) -> MadeServer:
    return MadeServer(Access(f"{api.url}/v1", TOKEN), str(api.server()["id"]), "web")


def faults(api: Api, **what: Any) -> None:
    api.ok("POST", "/_lab/faults", what)


def test_another_type(server: MadeServer) -> None:
    assert (server.type, server.disk_gb, server.status()) == ("cx23", 40, "running")
    kind = server.fitting("cx33", grow_disk=False)
    assert server.shut_down(10)
    server.change_type(kind, grow_disk=False)
    server.power_on()
    assert (server.type, server.disk_gb, server.status()) == ("cx33", 40, "running")


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("cx99", "the provider has no server type cx99"),
        ("cax21", "cax21 is arm, web is x86"),
        ("cpx31", "the provider has no cpx31 in fsn1 now"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_done(
    server: MadeServer, api: Api, wanted: str, why: str
) -> None:
    with pytest.raises(StackError, match=why):
        server.fitting(wanted, grow_disk=False)
    assert api.ok("GET", "/_lab/downtime") == {"most_off": []}


def test_a_disk_that_grew_does_not_shrink(server: MadeServer) -> None:
    server.shut_down(10)
    server.change_type(server.fitting("cx33", grow_disk=True), grow_disk=True)
    server.power_on()
    with pytest.raises(StackError, match="cannot shrink"):
        server.fitting("cx23", grow_disk=False)


def test_a_change_that_fails_says_why_and_the_server_comes_back(server: MadeServer, api: Api) -> None:
    faults(api, action="change_server_type", message="no host has room")
    kind = server.fitting("cx33", grow_disk=False)
    server.shut_down(10)
    with pytest.raises(StackError, match="no host has room"):
        server.change_type(kind, grow_disk=False)
    faults(api, method="POST", path="/v1/servers/*/actions/poweron", status=503, count=2)
    server.power_on()
    assert (server.type, server.status()) == ("cx23", "running")


def test_a_server_that_is_gone_is_said(api: Api) -> None:
    with pytest.raises(StackError, match="web could not be found"):
        MadeServer(Access(f"{api.url}/v1", TOKEN), "424242", "web")
