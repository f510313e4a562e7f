"""The door: token, errors in the published form, limits, and the faults that tests may ask for."""

from __future__ import annotations

import time
from typing import Any

import hcloud
import pytest
import requests

from tests.cloud.conftest import Api


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic " + "t" * 64, "Bearer", "t" * 64])
def test_without_the_token_nobody_gets_in(api: Api, header: str | None) -> None:
    api.session.headers.pop("Authorization")
    if header:
        api.session.headers["Authorization"] = header
    assert api.error("GET", "/servers") == (401, "unauthorized")
    assert api.error("POST", "/lab/faults", {"status": 503}) == (401, "unauthorized")
    assert api.error("GET", "/nowhere") == (401, "unauthorized")


def test_the_official_client_says_unauthorized(api: Api) -> None:
    with pytest.raises(hcloud.APIException) as caught:
        hcloud.Client("wrong", api_endpoint=f"{api.url}/v1").servers.get_all()
    assert caught.value.code == "unauthorized"


def test_what_does_not_exist(api: Api) -> None:
    assert api.error("GET", "/nowhere") == (404, "not_found")
    assert api.error("GET", "/servers/4711") == (404, "not_found")
    assert api.error("GET", "/servers/web") == (404, "not_found")
    assert api.error("DELETE", "/servers/99999999999999999999") == (404, "not_found")
    assert api.error("PUT", "/locations/1") == (405, "method_not_allowed")


def test_bodies_that_are_not_json_objects(api: Api) -> None:
    for data in ("{", "[1]", '"x"', "\xff"):
        response = api.session.post(f"{api.url}/v1/ssh_keys", data=data.encode("latin-1"))
        assert (response.status_code, response.json()["error"]["code"]) == (400, "json_error")


def test_all_mistakes_are_named_at_once(api: Api) -> None:
    response = api.ask("POST", "/servers", {"name": "under_score", "labels": {"-": "!"}, "public_net": {"ipv4": "x"}})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_input")
    fields = {field["name"] for field in error["details"]["fields"]}
    assert fields == {"name", "labels", "public_net.ipv4", "server_type", "image"}


def test_datacenters_are_gone(api: Api) -> None:
    for path in ("/datacenters", "/datacenters/4"):
        response = api.ask("GET", path)
        assert (response.status_code, response.json()["error"]["code"]) == (410, "deprecated_api_endpoint")
        assert "announcement" in response.json()["error"]["details"]
    assert api.error("POST", "/primary_ips", {
        "name": "a", "type": "ipv4", "assignee_type": "server", "datacenter": "fsn1-dc14", "location": "fsn1",
    }) == (422, "invalid_input")  # fmt: skip


def test_what_the_lab_does_not_have_says_so(api: Api) -> None:
    for collection in ("volumes", "load_balancers", "floating_ips", "certificates", "storage_boxes"):
        assert api.ok("GET", f"/{collection}")[collection] == []
        assert api.error("POST", f"/{collection}", {"name": "a"}) == (422, "unsupported_error")
        assert api.error("GET", f"/{collection}/7") == (404, "not_found")
    server = api.server()
    for action in ("enable_rescue", "create_image", "reset_password", "request_console", "attach_iso"):
        assert api.error("POST", f"/servers/{server['id']}/actions/{action}") == (422, "unsupported_error")


def test_a_fault_is_used_up(api: Api) -> None:
    fault = {"method": "GET", "path": "/v1/servers*", "status": 429, "count": 2, "retry_after": 7}
    assert api.ask("POST", "/lab/faults", fault).status_code == 201
    assert api.ok("GET", "/locations")
    first = api.ask("GET", "/servers")
    assert (first.status_code, first.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (first.headers["Retry-After"], first.headers["RateLimit-Remaining"]) == ("7", "0")
    assert api.error("GET", "/servers/1") == (429, "rate_limit_exceeded")
    assert api.ok("GET", "/servers")["servers"] == []


def test_the_official_client_retries_429_and_not_503(api: Api, client: Any) -> None:
    api.ask("POST", "/lab/faults", {"path": "/v1/servers", "status": 429, "count": 1})
    assert client.servers.get_all() == []
    api.ask("POST", "/lab/faults", {"path": "/v1/servers", "status": 503})
    with pytest.raises(hcloud.APIException) as caught:
        client.servers.get_all()
    assert caught.value.code == "unavailable"
    assert api.ask("DELETE", "/lab/faults").status_code == 204
    assert client.servers.get_all() == []


def test_slow_and_cut_answers(api: Api) -> None:
    api.ask("POST", "/lab/faults", {"path": "/v1/images", "delay_ms": 300, "count": 1})
    began = time.monotonic()
    assert api.ok("GET", "/images")
    assert time.monotonic() - began >= 0.3
    api.ask("POST", "/lab/faults", {"path": "/v1/images", "drop": True, "count": 1})
    with pytest.raises(requests.ConnectionError):
        api.ask("GET", "/images")
    assert api.ok("GET", "/images")


def test_a_fault_without_sense_is_refused(api: Api) -> None:
    for fault in ({}, {"status": 200}, {"status": "x"}, {"machine_does_not_boot": "web", "how": "loud"}):
        assert api.error("POST", "/lab/faults", fault) == (422, "invalid_input")


def test_requests_are_counted_by_operation(api: Api) -> None:
    api.ask("DELETE", "/lab/requests")
    server = api.server()
    api.ok("GET", "/servers")
    api.ask("GET", "/nowhere")
    counts = api.ok("GET", "/lab/requests")["requests"]
    assert counts["POST /v1/servers"] == 1
    assert counts["GET /v1/servers/{id}"] == 1
    assert counts["GET /v1/servers"] == 1
    assert counts["GET /v1/nowhere"] == 1
    assert not any("/lab/" in operation for operation in counts)
    assert str(server["id"]) not in "".join(counts)


def test_pricing(api: Api) -> None:
    assert api.ok("GET", "/pricing")["pricing"]["currency"] == "EUR"
