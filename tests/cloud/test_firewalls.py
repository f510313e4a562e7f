"""Cloud firewalls: what is recorded, and what is enforced on machines at once."""

from __future__ import annotations

from typing import Any

import hcloud
import pytest
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.servers import Server

from lab.backend import FirewallRule as Enforced
from tests.cloud.conftest import Api, wait_until

EVERYWHERE = ["0.0.0.0/0", "::/0"]
SSH = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": EVERYWHERE}
ENFORCED_SSH = Enforced("in", "tcp", "22", tuple(EVERYWHERE))


def rules(api: Api, server: dict[str, Any]) -> tuple[Enforced, ...] | None:
    return api.machines.machines[server["id"]].rules


def make(api: Api, **more: Any) -> dict[str, Any]:
    made = api.ok("POST", "/firewalls", {"name": "edge", "rules": [SSH], **more})
    for action in made["actions"]:
        assert api.done(action)["status"] == "success"
    firewall: dict[str, Any] = made["firewall"]
    return firewall


def test_it_holds_before_the_first_packet(api: Api) -> None:
    firewall = make(api)
    server = api.server(firewalls=[{"firewall": firewall["id"]}])
    assert server["public_net"]["firewalls"] == [{"id": firewall["id"], "status": "applied"}]
    verbs = [verb for verb, machine in api.machines.calls if machine == server["id"]]
    assert verbs.index("set_firewall") < verbs.index("start")
    assert rules(api, server) == (ENFORCED_SSH,)


def test_life_of_a_firewall(client: Any, api: Api) -> None:
    server = api.server()
    assert rules(api, server) is None
    ping = FirewallRule(direction="in", protocol="icmp", source_ips=EVERYWHERE, description="ping")
    target = FirewallResource(type="server", server=Server(id=server["id"]))
    made = client.firewalls.create("edge", rules=[ping], labels={"a": "b"}, resources=[target])
    firewall = made.firewall
    assert rules(api, server) == (Enforced("in", "icmp", "", tuple(EVERYWHERE)),)
    ports = FirewallRule(direction="out", protocol="tcp", port="80-85", destination_ips=["203.0.113.0/24"])
    for action in client.firewalls.set_rules(firewall, [ports]):
        action.wait_until_finished()
    assert rules(api, server) == (Enforced("out", "tcp", "80-85", ("203.0.113.0/24",)),)
    for action in client.firewalls.set_rules(firewall, []):
        action.wait_until_finished()
    assert rules(api, server) == (), "a firewall without rules lets nothing in"
    assert client.firewalls.update(firewall, name="rim").name == "rim"
    with pytest.raises(hcloud.APIException) as caught:
        client.firewalls.delete(firewall)
    assert caught.value.code == "resource_in_use"
    for action in client.firewalls.remove_from_resources(firewall, [target]):
        action.wait_until_finished()
    assert rules(api, server) is None
    assert client.firewalls.delete(firewall)
    assert client.firewalls.get_all() == []


def test_a_deleted_server_no_longer_uses_it(api: Api) -> None:
    firewall = make(api)
    server = api.server(firewalls=[{"firewall": firewall["id"]}])
    api.done(api.ok("DELETE", f"/servers/{server['id']}")["action"])
    assert api.ok("GET", f"/firewalls/{firewall['id']}")["firewall"]["applied_to"] == []
    api.ok("DELETE", f"/firewalls/{firewall['id']}")


def test_by_label(client: Any, api: Api) -> None:
    web, db = api.server("web", labels={"role": "web"}), api.server("db")
    firewall = client.firewalls.get_by_id(make(api)["id"])
    everyone = FirewallResource(type="label_selector", label_selector=FirewallResourceLabelSelector("role in (web)"))
    for action in client.firewalls.apply_to_resources(firewall, [everyone]):
        action.wait_until_finished()
    assert (rules(api, web), rules(api, db)) == ((ENFORCED_SSH,), None)
    found = client.firewalls.get_by_id(firewall.id).applied_to[0]
    assert [resource.server.id for resource in found.applied_to_resources or [] if resource.server] == [web["id"]]
    # labels that change move the server in and out
    api.ok("PUT", f"/servers/{db['id']}", {"labels": {"role": "web"}})
    wait_until(lambda: rules(api, db) == (ENFORCED_SSH,))
    api.ok("PUT", f"/servers/{web['id']}", {"labels": {}})
    wait_until(lambda: rules(api, web) is None)
    # a new server that matches has it from the start
    assert rules(api, api.server("late", labels={"role": "web"})) == (ENFORCED_SSH,)
    path = f"/firewalls/{firewall.id}/actions/remove_from_resources"
    one = {"remove_from": [{"type": "server", "server": {"id": db["id"]}}]}
    assert api.error("POST", path, one) == (422, "firewall_managed_by_label_selector")
    assert api.error("DELETE", f"/firewalls/{firewall.id}") == (422, "resource_in_use")
    for action in client.firewalls.remove_from_resources(firewall, [everyone]):
        action.wait_until_finished()
    assert rules(api, db) is None


def test_a_busy_machine_is_not_disturbed_and_gets_the_newest_rules(api: Api) -> None:
    firewall = make(api)
    server = api.server(firewalls=[{"firewall": firewall["id"]}])
    api.machines.seconds = 0.2  # longer than an answer waits for its action
    busy = api.ok("POST", f"/servers/{server['id']}/actions/reset")["action"]
    pushes = []
    for port in ("1", "2", "3"):
        order = {"rules": [{**SSH, "port": port}]}
        pushes += api.ok("POST", f"/firewalls/{firewall['id']}/actions/set_rules", order)["actions"]
    for action in [busy, *pushes]:
        assert api.done(action)["status"] == "success"
    enforced = rules(api, server)
    assert enforced is not None
    assert [rule.port for rule in enforced] == ["3"]
    # that the machine was never asked two things at once is checked after each test: see `api`


def test_several_firewalls_add_up(api: Api) -> None:
    firewalls = [make(api, name=f"f{i}", rules=[{**SSH, "port": str(i)}]) for i in range(1, 7)]
    refs = [{"firewall": firewall["id"]} for firewall in firewalls]
    server = api.server(firewalls=refs[:5])
    enforced = rules(api, server)
    assert enforced is not None
    assert [rule.port for rule in enforced] == ["1", "2", "3", "4", "5"]
    target = {"apply_to": [{"type": "server", "server": {"id": server["id"]}}]}
    path = f"/firewalls/{firewalls[5]['id']}/actions/apply_to_resources"
    assert api.error("POST", path, target) == (403, "resource_limit_exceeded")
    path = f"/firewalls/{firewalls[0]['id']}/actions/apply_to_resources"
    assert api.error("POST", path, target) == (422, "firewall_already_applied")


def test_targets_that_cannot_be(api: Api) -> None:
    firewall = make(api)
    inner = api.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16", "subnets": [
        {"type": "cloud", "network_zone": "eu-central"}]})["network"]  # fmt: skip
    hidden = api.server(public_net={"enable_ipv4": False, "enable_ipv6": False}, networks=[inner["id"]])
    path = f"/firewalls/{firewall['id']}/actions/"
    for action, field, target, expected in (
        ("apply_to_resources", "apply_to", {"type": "server", "server": {"id": 7}},
         (404, "firewall_resource_not_found")),
        ("remove_from_resources", "remove_from", {"type": "server", "server": {"id": 7}},
         (404, "firewall_resource_not_found")),
        ("apply_to_resources", "apply_to", {"type": "server", "server": {"id": hidden["id"]}},
         (422, "private_net_only_server")),
        ("apply_to_resources", "apply_to", {"type": "label_selector", "label_selector": {"selector": "a===b"}},
         (422, "invalid_input")),
        ("apply_to_resources", "apply_to", {"type": "cloud"}, (422, "invalid_input")),
    ):  # fmt: skip
        assert api.error("POST", path + action, {field: [target]}) == expected, target
    nobody = {"name": "f", "apply_to": [{"type": "server", "server": {"id": 7}}]}
    assert api.error("POST", "/firewalls", nobody) == (422, "firewall_resource_not_found")
    order = {"name": "b", "server_type": "cx23", "image": "debian-13", "firewalls": [{"firewall": 1}]}
    assert api.error("POST", "/servers", order) == (422, "invalid_input")


@pytest.mark.parametrize(
    "rule",
    [
        {"port": None},
        {"port": "0"},
        {"port": "85-80"},
        {"port": "70000"},
        {"port": "ssh"},
        {"protocol": "icmp"},
        {"protocol": "sctp"},
        {"direction": "sideways"},
        {"source_ips": []},
        {"source_ips": ["10.0.0.1/8"]},
        {"source_ips": ["10.0.0.1"]},
        {"source_ips": ["fe80::1%eth0 }/128"]},
        {"port": "２２"},
        {"source_ips": "0.0.0.0/0"},
        {"destination_ips": ["0.0.0.0/0"]},
    ],
)
def test_rules_that_cannot_be(api: Api, rule: dict[str, Any]) -> None:
    assert api.error("POST", "/firewalls", {"name": "edge", "rules": [{**SSH, **rule}]}) == (422, "invalid_input")
    assert api.ok("GET", "/firewalls")["firewalls"] == []


def test_at_most_fifty_rules(api: Api) -> None:
    assert api.error("POST", "/firewalls", {"name": "edge", "rules": [SSH] * 51}) == (422, "invalid_input")
    make(api, rules=[SSH] * 50)
    assert api.error("POST", "/firewalls", {"name": "edge"}) == (409, "uniqueness_error")
