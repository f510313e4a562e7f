"""Servers: from the order to the end."""

from __future__ import annotations

from typing import Any

import hcloud
import pytest
from hcloud.actions import ActionFailedException
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork

from tests.cloud.conftest import Api, wait_until

ORDER = {"name": "web", "server_type": "cx23", "image": "debian-13", "location": "fsn1"}


def test_the_order_reaches_the_machine(client: Any, api: Api) -> None:
    made = client.servers.create(
        "web",
        ServerType(name="cx33"),
        Image(name="debian-13"),
        location=Location(name="nbg1"),
        user_data="#cloud-config\n{}\n",
        labels={"role": "web"},
        public_net=ServerCreatePublicNetwork(),
    )
    assert made.server.status in ("initializing", "starting", "running")
    assert made.root_password, "no key was given"
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    server = client.servers.get_by_id(made.server.id)
    assert (server.status, server.labels, server.location.name) == ("running", {"role": "web"}, "nbg1")
    spec = api.machines.machines[server.id].spec
    assert (spec.name, spec.image, spec.cpus, spec.memory_mb, spec.disk_gb) == ("web", "debian-13", 4, 8192, 80)
    assert (spec.user_data, spec.public4, spec.public6) == ("#cloud-config\n{}\n", "198.18.0.10", "2001:db8:0:10::/64")
    assert spec.metadata == {
        "hostname": "web",
        "instance-id": str(server.id),
        "availability-zone": "nbg1-dc3",
        "region": "eu-central",
    }
    assert server.public_net.ipv4.dns_ptr == "static.10.0.18.198.clients.your-server.de"
    assert [action.command for action in client.servers.get_actions(server)] == ["create_server", "start_server"]


def test_a_server_may_be_said_to_stand_elsewhere(client: Any, api: Api) -> None:
    """As the provider would say of one that had been made there: everything but its place is as it was."""
    key, other = api.server()["id"], api.server("other")["id"]
    before = {one: api.ok("GET", f"/servers/{one}")["server"] for one in (key, other)}
    assert api.ask("POST", "/_lab/faults", {"stands_in": "ash", "server": "web"}).status_code == 201
    found = client.servers.get_by_id(key)
    assert (found.location.name, found.location.country, found.location.network_zone) == ("ash", "US", "us-east")
    assert {one["id"]: one["location"]["name"] for one in api.ok("GET", "/servers")["servers"]} == {
        key: "ash",
        other: before[other]["location"]["name"],
    }
    assert {**api.ok("GET", f"/servers/{key}")["server"], "location": ""} == {**before[key], "location": ""}
    assert len(api.ok("GET", "/_lab/faults")["faults"]) == 1
    api.ask("DELETE", "/_lab/faults")
    assert api.ok("GET", f"/servers/{key}")["server"] == before[key]


def test_power(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    told = api.machines.machines[server.id]
    for verb, state in (
        (client.servers.power_off, "off"),
        (client.servers.power_on, "running"),
        (client.servers.reboot, "running"),
        (client.servers.reset, "running"),
        (client.servers.shutdown, "off"),
    ):
        verb(server).wait_until_finished()
        server.reload()
        assert (server.status, told.power) == (state, state)
    assert api.error("POST", f"/servers/{server.id}/actions/reboot") == (422, "unsupported_error")
    assert api.error("POST", f"/servers/{server.id}/actions/shutdown") == (422, "unsupported_error")


def test_a_machine_that_went_off_by_itself_shows_off(api: Api) -> None:
    server = api.server()
    api.machines.machines[server["id"]].power = "off"
    assert [s["status"] for s in api.ok("GET", "/servers")["servers"]] == ["off"]
    assert api.ok("GET", "/servers?status=running")["servers"] == []


def test_a_machine_that_vanished_is_unknown_and_can_be_deleted(api: Api) -> None:
    server = api.server()
    api.machines.machines.pop(server["id"])
    assert api.ok("GET", f"/servers/{server['id']}")["server"]["status"] == "unknown"
    api.done(api.ok("DELETE", f"/servers/{server['id']}")["action"])
    assert api.ok("GET", "/servers")["servers"] == []


def test_not_started_when_not_wanted(api: Api) -> None:
    made = api.ok("POST", "/servers", {**ORDER, "start_after_create": False})
    assert made["next_actions"] == []
    api.done(made["action"])
    assert api.ok("GET", f"/servers/{made['server']['id']}")["server"]["status"] == "off"


def test_rename_and_labels(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    api.server("other")
    assert client.servers.update(server, name="db", labels={"a": "b"}).name == "db"
    assert client.servers.get_by_name("web") is None
    assert client.servers.get_by_name("db") is not None
    assert api.error("PUT", f"/servers/{server.id}", {"name": "other"}) == (409, "uniqueness_error")
    assert api.error("PUT", f"/servers/{server.id}", {"name": "a_b"}) == (422, "invalid_input")
    assert api.error("POST", "/servers", {**ORDER, "name": "db"}) == (409, "uniqueness_error")


def test_protection(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    assert api.error("POST", f"/servers/{server.id}/actions/change_protection", {"delete": True}) == (
        422,
        "invalid_input",
    )
    client.servers.change_protection(server, delete=True, rebuild=True).wait_until_finished()
    assert api.error("DELETE", f"/servers/{server.id}") == (423, "protected")
    rebuild = {"image": "debian-13"}
    assert api.error("POST", f"/servers/{server.id}/actions/rebuild", rebuild) == (423, "protected")
    assert server.id in api.machines.machines
    client.servers.change_protection(server, delete=False, rebuild=False).wait_until_finished()
    client.servers.delete(server).wait_until_finished()
    assert api.error("GET", f"/servers/{server.id}") == (404, "not_found")
    assert api.machines.machines == {}


def test_reverse_names(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    client.servers.change_dns_ptr(server, server.public_net.ipv4.ip, "web.example.com").wait_until_finished()
    six = server.public_net.ipv6.ip.replace("/64", "1")
    client.servers.change_dns_ptr(server, six, "six.example.com").wait_until_finished()
    server.reload()
    assert server.public_net.ipv4.dns_ptr == "web.example.com"
    assert server.public_net.ipv6.dns_ptr == [{"ip": six, "dns_ptr": "six.example.com"}]
    wrong = {"ip": "192.0.2.1", "dns_ptr": "x"}
    assert api.error("POST", f"/servers/{server.id}/actions/change_dns_ptr", wrong) == (422, "invalid_input")


def test_rebuild(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    client.servers.rebuild(server, Image(name="debian-13")).action.wait_until_finished()
    verbs = [verb for verb, machine in api.machines.calls if machine == server.id]
    assert verbs[-4:] == ["power_cut", "rebuild", "set_firewall", "start"]
    assert api.error("POST", f"/servers/{server.id}/actions/rebuild", {"image": "debian-12"}) == (
        422,
        "unsupported_error",
    )


def test_change_of_type(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    path = f"/servers/{server.id}/actions/change_type"
    assert api.error("POST", path, {"server_type": "cx33", "upgrade_disk": False}) == (422, "server_not_stopped")
    client.servers.power_off(server).wait_until_finished()
    assert api.error("POST", path, {"server_type": "cax21", "upgrade_disk": False}) == (422, "invalid_server_type")
    client.servers.change_type(server, ServerType(name="cx33"), upgrade_disk=False).wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.primary_disk_size) == ("cx33", 40)
    assert api.machines.machines[server.id].spec.cpus == 4
    client.servers.change_type(server, ServerType(name="cx23"), upgrade_disk=False).wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.status) == ("cx23", "off")


def test_change_of_type_with_its_disk_has_no_way_back(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    client.servers.power_off(server).wait_until_finished()
    client.servers.change_type(server, ServerType(name="cx33"), upgrade_disk=True).wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.primary_disk_size) == ("cx33", 80)
    assert api.machines.machines[server.id].spec.disk_gb == 80
    back = {"server_type": "cx23", "upgrade_disk": False}
    assert api.error("POST", f"/servers/{server.id}/actions/change_type", back) == (422, "invalid_server_type")


def test_change_of_type_that_fails_leaves_the_server_off_and_what_it_was(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    client.servers.power_off(server).wait_until_finished()
    api.machines.failing.add("grow_disk")
    action = client.servers.change_type(server, ServerType(name="cx33"), upgrade_disk=False)
    with pytest.raises(ActionFailedException):
        action.wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.status) == ("cx23", "off")


@pytest.mark.parametrize("api", [{"action_delay": 0.4}], indirect=True)
def test_a_server_whose_type_changes_is_migrating(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    client.servers.power_off(server).wait_until_finished()
    action = client.servers.change_type(server, ServerType(name="cx33"), upgrade_disk=False)
    server.reload()
    assert (server.status, server.locked, server.server_type.name) == ("migrating", True, "cx23")
    action.wait_until_finished()


def test_how_many_were_off_at_once_is_counted(client: Any, api: Api) -> None:
    first, second = (client.servers.get_by_id(api.server(name=name)["id"]) for name in ("one", "two"))
    assert api.ok("GET", "/_lab/downtime") == {"most_off": []}
    for server in (first, second):
        client.servers.power_off(server).wait_until_finished()
        client.servers.power_on(server).wait_until_finished()
    assert len(api.ok("GET", "/_lab/downtime")["most_off"]) == 1
    client.servers.shutdown(first).wait_until_finished()
    client.servers.delete(second).wait_until_finished()
    assert api.ok("GET", "/_lab/downtime") == {"most_off": ["one", f"server {second.id}, deleted"]}
    api.ok("DELETE", "/_lab/downtime")
    assert api.ok("GET", "/_lab/downtime") == {"most_off": ["one"]}


def test_placement_groups(client: Any, api: Api) -> None:
    group = client.placement_groups.create("apart", "spread").placement_group
    server = client.servers.get_by_id(api.server(placement_group=group.id)["id"])
    assert client.placement_groups.get_by_id(group.id).servers == [server.id]
    assert api.error("DELETE", f"/placement_groups/{group.id}") == (422, "resource_in_use")
    client.servers.remove_from_placement_group(server).wait_until_finished()
    client.servers.power_off(server).wait_until_finished()
    client.servers.add_to_placement_group(server, group).wait_until_finished()
    client.servers.delete(server).wait_until_finished()
    assert client.placement_groups.update(group, name="far-apart", labels={}).name == "far-apart"
    assert client.placement_groups.delete(group)
    assert client.placement_groups.get_all() == []
    assert api.error("POST", "/servers", {**ORDER, "placement_group": 1}) == (422, "invalid_input")


@pytest.mark.parametrize("api", [{"action_delay": 0.4}], indirect=True)
def test_locked_while_it_is_being_made(api: Api) -> None:
    made = api.ok("POST", "/servers", ORDER)
    path = f"/servers/{made['server']['id']}"
    assert (made["server"]["status"], made["server"]["locked"]) == ("initializing", True)
    assert api.error("DELETE", path) == (423, "locked")
    assert api.error("POST", f"{path}/actions/poweroff") == (423, "locked")
    assert api.error("POST", f"{path}/actions/attach_to_network", {"network": 1}) == (423, "locked")
    api.done(made["action"])
    assert api.ok("GET", path)["server"]["status"] == "starting"
    api.done(made["next_actions"][0])
    server = api.ok("GET", path)["server"]
    assert (server["status"], server["locked"]) == ("running", False)
    stop = api.ok("POST", f"{path}/actions/poweroff")["action"]
    assert api.ok("GET", path)["server"]["status"] == "stopping"
    api.done(stop)
    gone = api.ok("DELETE", path)["action"]
    assert api.ok("GET", path)["server"]["status"] == "deleting"
    api.done(gone)
    assert api.error("GET", path) == (404, "not_found")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "-web"},
        {"name": "a" * 64},
        {"name": "web.example.com."},
        {"name": 7},
        {"labels": {"hetzner.cloud/x": "y"}},
        {"labels": {"a": "b c"}},
        {"labels": {"a": 1}},
        {"user_data": "x" * (32 * 1024 + 1)},
        {"networks": [7]},
        {"networks": [7, 7]},
        {"networks": "all"},
        {"volumes": [1]},
        {"datacenter": "fsn1-dc14"},
        {"start_after_create": "yes"},
    ],
)
def test_orders_that_cannot_be(api: Api, change: dict[str, Any]) -> None:
    assert api.error("POST", "/servers", {**ORDER, **change}) == (422, "invalid_input")
    assert api.ok("GET", "/servers")["servers"] == []
    assert api.ok("GET", "/primary_ips")["primary_ips"] == [], "a refused order leaves nothing behind"


def test_a_machine_that_cannot_be_made(client: Any, api: Api) -> None:
    api.machines.failing.add("create")
    made = client.servers.create("web", ServerType(name="cx23"), Image(name="debian-13"))
    with pytest.raises(hcloud.actions.ActionFailedException):
        made.action.wait_until_finished()
    error = api.ok("GET", f"/actions/{made.action.id}")["action"]["error"]
    assert error["code"] == "action_failed"
    assert "create failed" in error["message"]
    with pytest.raises(hcloud.actions.ActionFailedException):
        made.next_actions[0].wait_until_finished()
    server = client.servers.get_by_id(made.server.id)
    assert server.status == "off"
    client.servers.delete(server).wait_until_finished()
    assert client.servers.get_all() == []


def test_a_machine_that_does_not_boot(api: Api) -> None:
    api.ask("POST", "/_lab/faults", {"machine_does_not_boot": "web", "count": 1})
    made = api.ok("POST", "/servers", ORDER)
    assert api.done(made["action"])["status"] == "success"
    failed = api.done(made["next_actions"][0])
    assert (failed["status"], failed["error"]["code"]) == ("error", "action_failed")
    path = f"/servers/{made['server']['id']}"
    assert api.ok("GET", path)["server"]["status"] == "off"
    api.done(api.ok("POST", f"{path}/actions/poweron")["action"])
    assert api.ok("GET", path)["server"]["status"] == "running"


def test_a_machine_that_stays_dark(api: Api) -> None:
    api.ask("POST", "/_lab/faults", {"machine_does_not_boot": "*", "count": 1, "how": "silent"})
    server = api.server()
    assert (server["status"], api.machines.machines[server["id"]].power) == ("running", "off")
    api.done(api.ok("POST", f"/servers/{server['id']}/actions/reset")["action"])
    assert api.machines.machines[server["id"]].power == "running"


def test_twenty_at_once(api: Api) -> None:
    api.machines.seconds = 0.05
    made = [api.ok("POST", "/servers", {**ORDER, "name": f"m{i}"}) for i in range(20)]
    for one in made:
        for action in [one["action"], *one["next_actions"]]:
            assert api.done(action)["status"] == "success"
    servers = api.ok("GET", "/servers")["servers"]
    assert {server["status"] for server in servers} == {"running"}
    assert len({server["public_net"]["ipv4"]["ip"] for server in servers}) == 20
    assert len({told.spec.public_mac for told in api.machines.machines.values()}) == 20
    wait_until(lambda: api.machines._busy == set())
