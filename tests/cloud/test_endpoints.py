"""HTTP: token, errors in the published form, limits, and the faults that tests may ask for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hcloud
import pytest
import requests

from bastide.errors import LabError
from tests.cloud.conftest import ADMIN_TOKEN, TOKEN, Api


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic " + "t" * 64, "Bearer", "t" * 64])
def test_without_the_token_nobody_gets_in(api: Api, header: str | None) -> None:
    api.session.headers.pop("Authorization")
    if header:
        api.session.headers["Authorization"] = header
    assert api.error("GET", "/servers") == (401, "unauthorized")
    assert api.error("GET", "/nowhere") == (401, "unauthorized")


@pytest.mark.parametrize("header", [None, f"Bearer {TOKEN}", "Bearer wrong", f"Basic {ADMIN_TOKEN}", ADMIN_TOKEN])
def test_the_admin_api_has_a_token_of_its_own(api: Api, header: str | None) -> None:
    api.session.headers.pop("Authorization")
    headers = {"Authorization": header} if header else {}
    for method, path in (("GET", "faults"), ("POST", "faults"), ("DELETE", "requests"), ("GET", "nowhere")):
        response = api.ask(method, f"/_lab/{path}", {"status": 503} if method == "POST" else None, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    api.session.headers["Authorization"] = f"Bearer {TOKEN}"
    assert api.ok("GET", "/servers")["servers"] == [], "a fault was set without its token"


def test_the_admin_apis_token_does_not_open_the_clouds(api: Api) -> None:
    api.session.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    assert api.error("GET", "/servers") == (401, "unauthorized")
    assert api.error("GET", "/_lab/nowhere") == (404, "not_found")
    assert api.error("PUT", "/_lab/faults") == (405, "method_not_allowed")


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
    for collection in ("load_balancers", "floating_ips", "certificates", "storage_boxes"):
        assert api.ok("GET", f"/{collection}")[collection] == []
        assert api.error("POST", f"/{collection}", {"name": "a"}) == (422, "unsupported_error")
        assert api.error("GET", f"/{collection}/7") == (404, "not_found")
    server = api.server()
    for action in ("enable_rescue", "create_image", "reset_password", "request_console", "attach_iso"):
        assert api.error("POST", f"/servers/{server['id']}/actions/{action}") == (422, "unsupported_error")


def test_a_fault_is_used_up(api: Api) -> None:
    fault = {"method": "GET", "path": "/v1/servers*", "status": 429, "count": 2, "retry_after": 7}
    assert api.ask("POST", "/_lab/faults", fault).status_code == 201
    assert api.ok("GET", "/locations")
    first = api.ask("GET", "/servers")
    assert (first.status_code, first.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (first.headers["Retry-After"], first.headers["RateLimit-Remaining"]) == ("7", "0")
    assert api.error("GET", "/servers/1") == (429, "rate_limit_exceeded")
    assert api.ok("GET", "/servers")["servers"] == []


def test_the_official_client_retries_429_and_not_503(api: Api, client: Any) -> None:
    api.ask("POST", "/_lab/faults", {"path": "/v1/servers", "status": 429, "count": 1})
    assert client.servers.get_all() == []
    api.ask("POST", "/_lab/faults", {"path": "/v1/servers", "status": 503})
    with pytest.raises(hcloud.APIException) as caught:
        client.servers.get_all()
    assert caught.value.code == "unavailable"
    assert api.ask("DELETE", "/_lab/faults").status_code == 204
    assert client.servers.get_all() == []


def test_slow_and_cut_answers(api: Api) -> None:
    api.ask("POST", "/_lab/faults", {"path": "/v1/images", "delay_ms": 300, "count": 1})
    began = time.monotonic()
    assert api.ok("GET", "/images")
    assert time.monotonic() - began >= 0.3
    api.ask("POST", "/_lab/faults", {"path": "/v1/images", "drop": True, "count": 1})
    with pytest.raises(requests.ConnectionError):
        api.ask("GET", "/images")
    assert api.ok("GET", "/images")


def test_a_slow_answer_comes_when_the_faults_are_cleared(api: Api) -> None:
    api.ask("POST", "/_lab/faults", {"path": "/v1/images", "delay_ms": 60_000, "count": 1})
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(api.ok, "GET", "/images")
        while api.ok("GET", "/_lab/faults")["faults"]:
            assert time.monotonic() - began < 20, "nobody asked"
        api.ask("DELETE", "/_lab/faults")
        assert slow.result(timeout=20)["images"]


def test_a_fault_without_sense_is_refused(api: Api) -> None:
    for fault in (
        {},
        {"status": 200},
        {"status": "x"},
        {"machine_does_not_boot": "web", "how": "loud"},
        {"action": "paint_server"},
        {"action": "start_server", "how": "slow"},
        {"action": "start_server", "progress": 100},
        {"stands_in": "atlantis"},
        {"stands_in": "ash", "count": 1},
    ):
        assert api.error("POST", "/_lab/faults", fault) == (422, "invalid_input")


def test_requests_are_counted_by_operation(api: Api) -> None:
    api.ask("DELETE", "/_lab/requests")
    server = api.server()
    api.ok("GET", "/servers")
    api.ask("GET", "/nowhere")
    counts = api.ok("GET", "/_lab/requests")["requests"]
    assert counts["POST /v1/servers"] == 1
    assert counts["GET /v1/servers/{id}"] == 1
    assert counts["GET /v1/servers"] == 1
    assert counts["GET /v1/nowhere"] == 1
    assert not any("/_lab/" in operation for operation in counts)
    assert str(server["id"]) not in "".join(counts)


def test_pricing(api: Api) -> None:
    assert api.ok("GET", "/pricing")["pricing"]["currency"] == "EUR"


def test_an_action_fails_as_asked_and_the_next_does_not(api: Api) -> None:
    fault = {"action": "create_server", "server": "web*", "progress": 60, "code": "placement_error", "count": 1}
    assert api.ask("POST", "/_lab/faults", {**fault, "message": "no room in fsn1"}).status_code == 201
    assert len(api.ok("GET", "/_lab/faults")["faults"]) == 1
    assert api.server("db")["status"] == "running", "another server's name"
    order = {"name": "web", "server_type": "cx23", "image": "debian-13", "location": "fsn1"}
    made = api.ok("POST", "/servers", order)
    action = api.done(made["action"])
    assert (action["status"], action["progress"]) == ("error", 60)
    assert action["error"] == {"code": "placement_error", "message": "no room in fsn1"}
    assert api.ok("GET", "/_lab/faults")["faults"] == []
    for each in made["next_actions"]:
        api.done(each)
    api.done(api.ok("DELETE", f"/servers/{made['server']['id']}")["action"])
    assert api.server("web")["status"] == "running"


def test_a_failed_attachment_leaves_no_address_behind(api: Api) -> None:
    subnet = {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"}
    network = api.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16", "subnets": [subnet]})["network"]
    server = api.server()
    api.ask("POST", "/_lab/faults", {"action": "attach_to_network", "count": 1})
    path = f"/servers/{server['id']}/actions/attach_to_network"
    assert api.done(api.ok("POST", path, {"network": network["id"]})["action"])["error"]["code"] == "action_failed"
    assert api.ok("GET", f"/servers/{server['id']}")["server"]["private_net"] == []
    assert api.done(api.ok("POST", path, {"network": network["id"]})["action"])["status"] == "success"


def test_a_slow_action_shows_its_progress_and_ends_well(api: Api) -> None:
    server = api.server()
    api.ask("POST", "/_lab/faults", {"action": "stop_server", "how": "slow", "delay_ms": 600, "progress": 70})
    began = time.monotonic()
    action = api.ok("POST", f"/servers/{server['id']}/actions/poweroff")["action"]
    assert (action["status"], action["progress"]) == ("running", 70)
    assert api.done(action)["status"] == "success"
    assert time.monotonic() - began >= 0.6


def _sink(method: str, body: Any) -> dict[str, Any]:
    if method == "POST" and body != {"mail": "refuse"}:
        raise LabError("faults are others")
    return {"messages": [], "asked": method}


@pytest.mark.parametrize("api", [{"sink": _sink}], indirect=True)
def test_what_came_at_the_sink_is_shown(api: Api) -> None:
    assert api.ok("GET", "/_lab/messages") == {"messages": [], "asked": "GET"}
    assert api.ok("POST", "/_lab/messages/faults", {"mail": "refuse"})["asked"] == "POST"
    assert api.error("POST", "/_lab/messages/faults", {"mail": "sulk"}) == (422, "invalid_input")
    assert api.ok("DELETE", "/_lab/messages")["asked"] == "DELETE"


def test_a_lab_without_a_sink_says_so(api: Api) -> None:
    assert api.error("GET", "/_lab/messages") == (404, "not_found")
