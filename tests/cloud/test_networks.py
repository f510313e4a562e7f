"""Networks, subnets, routes, and servers in them."""

from __future__ import annotations

from typing import Any

import hcloud
import pytest
from hcloud.networks import Network, NetworkRoute, NetworkSubnet

from tests.cloud.conftest import Api


def make(api: Api, **more: Any) -> dict[str, Any]:
    subnet = {"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24"}
    order = {"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [subnet], **more}
    network: dict[str, Any] = api.ok("POST", "/networks", order)["network"]
    return network


def test_life_of_a_network(client: Any) -> None:
    subnet = NetworkSubnet(ip_range="10.0.1.0/24", network_zone="eu-central", type="cloud")
    network = client.networks.create("inner", "10.0.0.0/16", [subnet], labels={"a": "b"})
    assert (network.subnets[0].gateway, network.servers) == ("10.0.0.1", [])
    without_range = NetworkSubnet(None, network_zone="eu-central", type="cloud")  # type: ignore[arg-type]
    client.networks.add_subnet(network, without_range).wait_until_finished()
    assert [s.ip_range for s in client.networks.get_by_id(network.id).subnets] == ["10.0.1.0/24", "10.0.0.0/24"]
    route = NetworkRoute(destination="10.100.0.0/16", gateway="10.0.1.1")
    client.networks.add_route(network, route).wait_until_finished()
    assert client.networks.get_by_id(network.id).routes[0].gateway == "10.0.1.1"
    client.networks.delete_route(network, route).wait_until_finished()
    client.networks.delete_subnet(network, NetworkSubnet(ip_range="10.0.0.0/24")).wait_until_finished()
    client.networks.change_ip_range(network, "10.0.0.0/15").wait_until_finished()
    network = client.networks.update(network, name="outer", labels={})
    assert (network.name, network.ip_range, len(network.subnets), network.routes) == ("outer", "10.0.0.0/15", 1, [])
    commands = [action.command for action in client.networks.get_actions(network)]
    assert commands == ["add_subnet", "add_route", "delete_route", "delete_subnet", "change_ip_range"]
    client.networks.change_protection(network, delete=True).wait_until_finished()
    with pytest.raises(hcloud.APIException) as caught:
        client.networks.delete(network)
    assert caught.value.code == "protected"
    client.networks.change_protection(network, delete=False).wait_until_finished()
    assert client.networks.delete(network)
    assert client.networks.get_all() == []


@pytest.mark.parametrize(
    "change",
    [
        {"ip_range": "8.8.8.0/24"},
        {"ip_range": "10.0.0.0/25"},
        {"ip_range": "10.0.0.1/16"},
        {"ip_range": "fd00::/64"},
        {"ip_range": None},
        {"name": ""},
        {"subnets": [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.1.0.0/24"}]},
        {"subnets": [{"type": "cloud", "network_zone": "moon", "ip_range": "10.0.0.0/24"}]},
        {"subnets": [{"type": "vswitch", "network_zone": "eu-central", "ip_range": "10.0.0.0/24", "vswitch_id": 1}]},
        {"subnets": [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.0.0/24"}] * 2},
        {"routes": [{"destination": "10.1.0.0/16", "gateway": "10.0.0.1"}]},
        {"routes": [{"destination": "10.1.0.0/16", "gateway": "192.168.0.1"}]},
    ],
)
def test_networks_that_cannot_be(api: Api, change: dict[str, Any]) -> None:
    order = {"name": "inner", "ip_range": "10.0.0.0/16", **change}
    assert api.error("POST", "/networks", order) == (422, "invalid_input")
    assert api.ok("GET", "/networks")["networks"] == []


def test_names_are_unique_and_ranges_only_grow(api: Api) -> None:
    network = make(api)
    assert api.error("POST", "/networks", {"name": "inner", "ip_range": "10.9.0.0/16"}) == (409, "uniqueness_error")
    path = f"/networks/{network['id']}/actions/change_ip_range"
    for wrong in ("10.0.0.0/17", "10.128.0.0/9", "11.0.0.0/8"):
        assert api.error("POST", path, {"ip_range": wrong}) == (422, "invalid_input")


def test_a_server_in_a_network(client: Any, api: Api) -> None:
    network = client.networks.get_by_id(make(api)["id"])
    one = client.servers.get_by_id(api.server("one", networks=[network.id])["id"])
    two = client.servers.get_by_id(api.server("two")["id"])
    assert one.private_net[0].ip == "10.0.1.1"
    told = api.machines.machines[one.id].nics[network.id]
    assert (told.network_range, told.address, told.mac) == ("10.0.0.0/16", "10.0.1.1", one.private_net[0].mac_address)
    assert int(told.mac[:2], 16) & 3 == 2, "locally administered, unicast"
    client.servers.attach_to_network(two, network, ip="10.0.1.9", alias_ips=["10.0.1.10"]).wait_until_finished()
    two.reload()
    assert (two.private_net[0].ip, two.private_net[0].alias_ips) == ("10.0.1.9", ["10.0.1.10"])
    client.servers.change_alias_ips(two, network, ["10.0.1.11", "10.0.1.10"]).wait_until_finished()
    assert api.machines.machines[two.id].nics[network.id].alias_addresses == ("10.0.1.11", "10.0.1.10")
    assert {server.id for server in client.networks.get_by_id(network.id).servers} == {one.id, two.id}
    client.servers.detach_from_network(two, network).wait_until_finished()
    two.reload()
    assert two.private_net == []
    assert api.machines.machines[two.id].nics == {}
    # deleting the network unplugs whoever is left
    assert client.networks.delete(network)
    one.reload()
    assert (one.private_net, api.machines.machines[one.id].nics) == ([], {})
    assert ("delete_network", network.id) in api.machines.calls


def test_addresses_that_cannot_be_had(api: Api) -> None:
    network = make(api, ip_range="10.0.0.0/16", subnets=[
        {"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.0.0/30"},
        {"type": "cloud", "network_zone": "us-east", "ip_range": "10.0.5.0/24"},
    ])  # fmt: skip
    one, two = api.server("one"), api.server("two")
    path = f"/servers/{one['id']}/actions/attach_to_network"
    for ip, code in (
        ("10.0.0.1", "ip_not_available"),  # the network's gateway
        ("10.0.0.0", "ip_not_available"),
        ("10.0.0.3", "ip_not_available"),
        ("10.0.5.1", "invalid_input"),  # another zone's subnet
        ("192.168.0.1", "invalid_input"),
        ("x", "invalid_input"),
    ):
        assert api.error("POST", path, {"network": network["id"], "ip": ip}) == (422, code), ip
    wrong = {"network": network["id"], "ip_range": "10.0.6.0/24"}
    assert api.error("POST", path, wrong) == (422, "no_subnet_available")
    assert api.error("POST", path, {"network": 1}) == (422, "invalid_input")
    api.done(api.ok("POST", path, {"network": network["id"]})["action"])
    assert api.error("POST", path, {"network": network["id"]}) == (422, "server_already_attached")
    full = f"/servers/{two['id']}/actions/attach_to_network"
    assert api.error("POST", full, {"network": network["id"]}) == (422, "no_subnet_available")
    assert api.error("POST", full, {"network": network["id"], "ip": "10.0.0.2"}) == (422, "ip_not_available")
    subnet = f"/networks/{network['id']}/actions/delete_subnet"
    assert api.error("POST", subnet, {"ip_range": "10.0.0.0/30"}) == (422, "resource_in_use")
    overlapping = make(api, name="other")
    assert api.error("POST", path, {"network": overlapping["id"]}) == (422, "networks_overlap")


def test_a_failed_attach_leaves_the_server_outside(api: Api, client: Any) -> None:
    network, server = make(api), api.server()
    api.machines.failing.add("attach")
    action = client.servers.attach_to_network(client.servers.get_by_id(server["id"]), Network(id=network["id"]))
    with pytest.raises(hcloud.actions.ActionFailedException):
        action.wait_until_finished()
    assert api.ok("GET", f"/servers/{server['id']}")["server"]["private_net"] == []
