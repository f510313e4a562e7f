"""Primary IPs: addresses with a life of their own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud.conftest import Api


def make(api: Api, kind: str = "ipv4", **more: Any) -> dict[str, Any]:
    order = {"name": f"web-{kind}", "type": kind, "assignee_type": "server", "location": "fsn1", **more}
    made: dict[str, Any] = api.ok("POST", "/primary_ips", order)["primary_ip"]
    return made


def power(api: Api, server: dict[str, Any], verb: str) -> None:
    api.done(api.ok("POST", f"/servers/{server['id']}/actions/{verb}")["action"])


def test_they_outlive_the_server(api: Api) -> None:
    four, six = make(api), make(api, "ipv6")
    assert (four["ip"], six["ip"]) == ("198.18.0.10", "2001:db8:0:10::/64")
    assert (four["assignee_id"], four["assignee_type"], four["auto_delete"]) == (None, "unassigned", False)
    server = api.server(public_net={"ipv4": four["id"], "ipv6": six["id"]})
    assert server["public_net"]["ipv4"]["ip"] == four["ip"]
    spec = api.machines.machines[server["id"]].spec
    assert (spec.public4, spec.public6) == (four["ip"], six["ip"])
    held = api.ok("GET", f"/primary_ips/{four['id']}")["primary_ip"]
    assert (held["assignee_id"], held["assignee_type"]) == (server["id"], "server")
    api.done(api.ok("DELETE", f"/servers/{server['id']}")["action"])
    left = api.ok("GET", "/primary_ips")["primary_ips"]
    assert [(ip["id"], ip["assignee_type"]) for ip in left] == [(four["id"], "unassigned"), (six["id"], "unassigned")]


def test_those_that_a_server_brought_go_with_it(api: Api) -> None:
    server = api.server()
    brought = api.ok("GET", "/primary_ips")["primary_ips"]
    assert [ip["auto_delete"] for ip in brought] == [True, True]
    api.done(api.ok("DELETE", f"/servers/{server['id']}")["action"])
    assert api.ok("GET", "/primary_ips")["primary_ips"] == []
    again = api.server()
    assert again["public_net"]["ipv4"]["ip"] != server["public_net"]["ipv4"]["ip"], (
        "an address rests before it comes back"
    )


def test_life_of_a_primary_ip(client: Any, api: Api) -> None:
    made = client.primary_ips.create("ipv4", "web", location=client.locations.get_by_name("nbg1"), labels={"a": "b"})
    ip = made.primary_ip
    assert made.action is None
    renamed = client.primary_ips.update(ip, name="edge", auto_delete=False)
    assert (renamed.name, renamed.labels) == ("edge", {"a": "b"})
    client.primary_ips.change_dns_ptr(ip, ip.ip, "web.example.com").wait_until_finished()
    assert client.primary_ips.get_by_id(ip.id).dns_ptr == [{"ip": ip.ip, "dns_ptr": "web.example.com"}]
    client.primary_ips.change_dns_ptr(ip, ip.ip, None).wait_until_finished()
    assert "your-server" in client.primary_ips.get_by_id(ip.id).dns_ptr[0]["dns_ptr"]
    client.primary_ips.change_protection(ip, delete=True).wait_until_finished()
    assert api.error("DELETE", f"/primary_ips/{ip.id}") == (423, "protected")
    assert api.error("PUT", f"/primary_ips/{ip.id}", {"auto_delete": True}) == (422, "invalid_input")
    client.primary_ips.change_protection(ip, delete=False).wait_until_finished()
    assert [found["id"] for found in api.ok("GET", f"/primary_ips?ip={ip.ip}")["primary_ips"]] == [ip.id]
    assert client.primary_ips.delete(ip)
    assert client.primary_ips.get_all() == []


def test_assigned_only_while_the_server_is_off(client: Any, api: Api) -> None:
    server = api.server(public_net={"enable_ipv4": False, "enable_ipv6": True})
    ip = client.primary_ips.get_by_id(make(api)["id"])
    path = f"/primary_ips/{ip.id}/actions/assign"
    order = {"assignee_id": server["id"], "assignee_type": "server"}
    assert api.error("POST", path, order) == (422, "server_not_stopped")
    power(api, server, "poweroff")
    client.primary_ips.assign(ip, server["id"]).wait_until_finished()
    assert api.machines.machines[server["id"]].public[0] == ip.ip
    assert api.error("POST", path, order) == (422, "primary_ip_already_assigned")
    second = make(api, name="second")
    assert api.error("POST", f"/primary_ips/{second['id']}/actions/assign", order) == (422, "server_has_ipv4")
    assert api.error("DELETE", f"/primary_ips/{ip.id}") == (422, "must_be_unassigned")
    power(api, server, "poweron")
    assert api.error("POST", f"/primary_ips/{ip.id}/actions/unassign") == (422, "server_not_stopped")
    power(api, server, "poweroff")
    client.primary_ips.unassign(ip).wait_until_finished()
    assert api.machines.machines[server["id"]].public[0] == ""
    assert api.ok("GET", f"/servers/{server['id']}")["server"]["public_net"]["ipv4"] is None
    third = api.ok("POST", "/primary_ips", {
        "name": "third", "type": "ipv4", "assignee_type": "server", "assignee_id": server["id"]})  # fmt: skip
    assert api.done(third["action"])["status"] == "success"
    assert third["primary_ip"]["location"]["name"] == "fsn1"


def test_those_that_do_not_fit_a_new_server(api: Api) -> None:
    four, six, far = make(api), make(api, "ipv6"), make(api, name="far", location="hel1")
    api.server("first", public_net={"ipv4": four["id"]})
    for net, code in (
        ({"ipv4": four["id"]}, "primary_ip_assigned"),
        ({"ipv4": six["id"]}, "primary_ip_version_mismatch"),
        ({"ipv4": far["id"]}, "primary_ip_datacenter_mismatch"),
        ({"ipv4": 1}, "invalid_input"),
        ({"ipv4": six["id"], "enable_ipv4": False}, "invalid_input"),
        ({"enable_ipv4": False, "enable_ipv6": False}, "invalid_input"),
    ):
        order = {"name": "b", "server_type": "cx23", "image": "debian-13", "location": "fsn1", "public_net": net}
        assert api.error("POST", "/servers", order) == (422, code), net
    assert len(api.ok("GET", "/servers")["servers"]) == 1
    # without a location the server goes to where its address is
    order = {"name": "b", "server_type": "cx23", "image": "debian-13", "public_net": {"ipv4": far["id"]}}
    assert api.ok("POST", "/servers", order)["server"]["location"]["name"] == "hel1"


@pytest.mark.parametrize("api", [{}], indirect=True)
def test_the_pool_has_an_end(api: Api) -> None:
    api.machines._pools = ("198.18.0.0/28", "2001:db8::/48")
    for i in range(5):
        make(api, name=f"ip{i}")
    order = {"name": "one-too-many", "type": "ipv4", "assignee_type": "server", "location": "fsn1"}
    assert api.error("POST", "/primary_ips", order) == (403, "resource_limit_exceeded")
    assert api.error("POST", "/primary_ips", {**order, "name": "ip0"}) == (409, "uniqueness_error")
