"""A server's private networks: attach, detach, alias addresses."""

from __future__ import annotations

import ipaddress

from lab.cloud import catalog
from lab.cloud.addresses import check_aliases, private_address, private_mac
from lab.cloud.call import Call, Reply
from lab.cloud.collection import get
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, limit_exceeded
from lab.cloud.fields import Fields
from lab.cloud.locations import locations
from lab.cloud.power import check_free
from lab.cloud.state import Record, Tables

# docs.hetzner.com, "Networks FAQ"
MOST_NETWORKS = 3
_MOST_ALIASES = 5


def attach(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/attach_to_network."""
    fields = Fields(call.body)
    network_id, ip, aliases = fields.number("network"), fields.maybe_text("ip"), fields.texts("alias_ips")
    within = fields.network("ip_range")
    fields.check()
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", call.id("server"))
        check_free(tables, server)
        network = _network(tables, network_id)
        if any(nic["network"] == network_id for nic in server["private_net"]):
            raise ApiError(422, "server_already_attached", f"server '{server['name']}' is already in the network")
        if len(server["private_net"]) >= MOST_NETWORKS:
            raise limit_exceeded(f"a server is in at most {MOST_NETWORKS} networks", "server_network_limit")
        _check_overlap(tables, server, network)
        zone = catalog.find(locations(), server["location"], "location")["network_zone"]
        ip = private_address(tables, network, zone, ip or None, str(within) if within else None)
        _check_aliases(tables, network, aliases, [])
        mac = private_mac(server["id"], network_id)
        server["private_net"].append({"network": network_id, "ip": ip, "alias_ips": aliases, "mac": mac})
        action = begin_attach(cloud, tables, server, network_id)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def detach(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/detach_from_network."""
    fields = Fields(call.body)
    network = fields.number("network")
    fields.check()
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", call.id("server"))
        check_free(tables, server)
        nic_of(server, network)
        work = {"verb": "detach", "lane": f"server:{server['id']}", "server": server["id"], "network": network}
        resources = [("server", int(server["id"])), ("network", network)]
        action = cloud.actions.begin(tables, "detach_from_network", resources, work)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_alias_ips(cloud: Cloud, call: Call) -> Reply:
    """POST /servers/{id}/actions/change_alias_ips: the list replaces the one before."""
    fields = Fields(call.body)
    network_id, aliases = fields.number("network"), fields.texts("alias_ips")
    if not fields.has("alias_ips"):
        fields.wrong("alias_ips", "is required")
    fields.check()
    with cloud.state.change() as tables:
        server = get(tables, "servers", "server", call.id("server"))
        check_free(tables, server)
        nic = nic_of(server, network_id)
        _check_aliases(tables, _network(tables, network_id), aliases, nic["alias_ips"])
        nic["alias_ips"] = aliases
        action = begin_attach(cloud, tables, server, network_id, "change_alias_ips")
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def nic_of(server: Record, network: int) -> Record:
    """The server's interface in a network. Raises `invalid_input` when it has none."""
    for nic in server["private_net"]:
        if nic["network"] == network:
            found: Record = nic
            return found
    raise invalid_input("network", f"server '{server['name']}' is not in network {network}")


def begin_attach(cloud: Cloud, tables: Tables, server: Record, network: int, command: str = "attach_to_network") -> int:
    """Begin an action that plugs the machine in as the records say."""
    key = int(server["id"])
    work = {"verb": "attach", "lane": f"server:{key}", "server": key, "network": network}
    work["new"] = command == "attach_to_network"
    return cloud.actions.begin(tables, command, [("server", key), ("network", network)], work)


def _check_aliases(tables: Tables, network: Record, aliases: list[str], own: list[str]) -> None:
    if len(aliases) > _MOST_ALIASES:
        raise limit_exceeded(f"a server has at most {_MOST_ALIASES} alias IPs in a network", "alias_ip_limit")
    check_aliases(tables, network, aliases, own)


def _check_overlap(tables: Tables, server: Record, network: Record) -> None:
    range_ = ipaddress.IPv4Network(network["ip_range"])
    for nic in server["private_net"]:
        other = tables.networks[nic["network"]]
        if range_.overlaps(ipaddress.IPv4Network(other["ip_range"])):
            raise ApiError(422, "networks_overlap", f"{range_} overlaps with network '{other['name']}' of the server")


def _network(tables: Tables, key: int) -> Record:
    if key not in tables.networks:
        raise invalid_input("network", f"network with ID '{key}' does not exist")
    return tables.networks[key]
