"""Lists: pages, filters, sorting, label selectors, and actions by id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lab.cloud.labels import mistakes, selector
from tests.cloud.conftest import Api


def fill(api: Api, count: int) -> None:
    for i in range(count):
        label = {"n": str(i % 3), **({"odd": ""} if i % 2 else {})}
        api.ok("POST", "/networks", {"name": f"net-{i:02}", "ip_range": f"10.{i}.0.0/16", "labels": label})


def test_pages(api: Api, client: Any) -> None:
    fill(api, 55)
    first = api.ok("GET", "/networks")
    assert len(first["networks"]) == 25
    assert first["meta"]["pagination"] == {
        "page": 1, "per_page": 25, "previous_page": None, "next_page": 2, "last_page": 3, "total_entries": 55,
    }  # fmt: skip
    last = api.ok("GET", "/networks?page=6&per_page=10")
    assert [network["name"] for network in last["networks"]] == [f"net-{i}" for i in range(50, 55)]
    assert (last["meta"]["pagination"]["previous_page"], last["meta"]["pagination"]["next_page"]) == (5, None)
    assert api.ok("GET", "/networks?page=9")["networks"] == []
    assert len(api.ok("GET", "/networks?per_page=500")["networks"]) == 50
    for wrong in ("page=0", "page=x", "per_page=-1", "sort=colour", "sort=id:up"):
        assert api.error("GET", f"/networks?{wrong}") == (422, "invalid_input")
    assert len(client.networks.get_all()) == 55
    assert len(client.networks.get_all(label_selector="n=1,!odd")) == 9


@pytest.mark.parametrize("api", [{"clock": lambda: datetime(2026, 11, 1, tzinfo=UTC)}], indirect=True)
def test_sorting(api: Api) -> None:
    fill(api, 4)
    names = [network["name"] for network in api.ok("GET", "/networks?sort=name:desc")["networks"]]
    assert names == ["net-03", "net-02", "net-01", "net-00"]
    several = api.ok("GET", "/networks?sort=created&sort=id:desc")["networks"]
    assert [network["name"] for network in several] == names


LABELS = {"env": "prod", "example.com/team": "web", "flag": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("env", True),
        ("!env", False),
        ("nothing", False),
        ("!nothing", True),
        ("env=prod", True),
        ("env==prod", True),
        ("env = test", False),
        ("env!=test", True),
        ("env!=prod", False),
        ("nothing!=x", True),
        ("flag=", True),
        ("env in (test,prod)", True),
        ("env in ( test , prod )", True),
        ("env in (test)", False),
        ("env notin (test,dev)", True),
        ("env notin (prod)", False),
        ("nothing notin (prod)", True),
        ("env=prod,!nothing,example.com/team in (web,db)", True),
        ("env=prod, flag=x", False),
    ],
)
def test_label_selectors(text: str, expected: bool) -> None:
    assert selector(text)(LABELS) is expected


@pytest.mark.parametrize("text", ["=", "a=b=c", "env in", "env in prod", "a b", "!!a", "a,,b", "env in (a b)", "-a"])
def test_label_selectors_that_cannot_be_understood(api: Api, text: str) -> None:
    assert api.error("GET", f"/servers?label_selector={text.replace('=', '%3D')}") == (422, "invalid_input")


def test_labels() -> None:
    assert mistakes({"a": "b", "example.com/a-b_c.d": "", "x" * 63: "y" * 63}) == []
    for wrong in (
        {"": "a"},
        {"x" * 64: ""},
        {"-a": ""},
        {"a/b/c": ""},
        {"a": "b/c"},
        {"a": "-"},
        {"hetzner.cloud/a": ""},
    ):
        assert mistakes(wrong), wrong


@pytest.mark.parametrize("api", [{"action_delay": 0.3}], indirect=True)
def test_actions_by_id(api: Api, client: Any) -> None:
    order = {"name": "web", "server_type": "cx23", "image": "debian-13"}
    made = api.ok("POST", "/servers", order)
    create, start = made["action"], made["next_actions"][0]
    assert (create["status"], create["progress"], create["finished"]) == ("running", 0, None)
    path = f"/actions?id={start['id']}&id={create['id']}"
    both = api.ok("GET", f"{path}&page=1&sort=status&sort=id")["actions"]
    assert [action["id"] for action in both] == [create["id"], start["id"]]
    assert api.ok("GET", f"{path}&status=success")["actions"] == []
    assert api.error("GET", "/actions") == (422, "invalid_input")
    seen = []
    while (now := api.ok("GET", f"/actions/{create['id']}")["action"])["status"] == "running":
        seen.append(now["progress"])
    assert seen == sorted(seen)
    assert len(set(seen)) > 1, "progress is seen to move"
    assert (now["status"], now["progress"], now["error"]) == ("success", 100, None)
    api.done(start)
    server = made["server"]["id"]
    assert len(api.ok("GET", f"/servers/{server}/actions")["actions"]) == 2
    assert api.ok("GET", f"/servers/{server}/actions/{start['id']}")["action"]["command"] == "start_server"
    assert len(api.ok("GET", "/servers/actions")["actions"]) == 2
    assert api.ok("GET", f"/servers/actions/{start['id']}")
    assert api.error("GET", f"/networks/actions/{start['id']}") == (404, "not_found")
    assert client.actions.get_by_id(start["id"]).command == "start_server"


def test_the_actions_of_each_kind(api: Api) -> None:
    network = api.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16"})["network"]
    firewall = api.ok("POST", "/firewalls", {"name": "f"})["firewall"]
    ip = api.ok("POST", "/primary_ips", {"name": "p", "type": "ipv4", "location": "fsn1"})["primary_ip"]
    server = api.server()
    for path in (f"/networks/{network['id']}", f"/primary_ips/{ip['id']}", f"/servers/{server['id']}"):
        api.ok("POST", f"{path}/actions/change_protection", {"delete": False, "rebuild": False})
    for collection, key in (
        ("networks", network["id"]),
        ("firewalls", firewall["id"]),
        ("primary_ips", ip["id"]),
        ("servers", server["id"]),
    ):
        own = api.ok("GET", f"/{collection}/{key}/actions")["actions"]
        assert own == api.ok("GET", f"/{collection}/actions")["actions"]
        one = own[-1]["id"]
        assert api.ok("GET", f"/{collection}/{key}/actions/{one}")["action"] == own[-1]
        assert api.ok("GET", f"/{collection}/actions/{one}")["action"] == own[-1]
        assert api.error("GET", f"/{collection}/1/actions") == (404, "not_found")
        assert api.error("GET", f"/{collection}/{key}/actions/1") == (404, "not_found")
