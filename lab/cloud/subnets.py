"""The actions that change a network's range, subnets and routes.

Routes are recorded and shown; the machine side has no verb for them, so that they are not announced to machines.
"""

from __future__ import annotations

import ipaddress

from lab.cloud.addresses import gateway
from lab.cloud.call import Call, Reply
from lab.cloud.collection import get
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, limit_exceeded
from lab.cloud.fields import Fields
from lab.cloud.locations import locations
from lab.cloud.state import Record, Tables

# docs.hetzner.com, "Networks FAQ"
_MOST_SUBNETS = 50
_MOST_ROUTES = 100
_SMALLEST_PREFIX = 30


def add_subnet(cloud: Cloud, call: Call) -> Reply:
    """POST /networks/{id}/actions/add_subnet."""
    fields = Fields(call.body)
    wanted = read_subnet(fields)
    fields.check()
    with cloud.state.change() as tables:
        network = _get(tables, call)
        network["subnets"].append(check_subnet(network, wanted))
        action = cloud.actions.begin(tables, "add_subnet", [("network", network["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def delete_subnet(cloud: Cloud, call: Call) -> Reply:
    """POST /networks/{id}/actions/delete_subnet. Not while a server has an address in it."""
    fields = Fields(call.body)
    range_ = fields.text("ip_range")
    fields.check()
    with cloud.state.change() as tables:
        network = _get(tables, call)
        kept = [subnet for subnet in network["subnets"] if subnet["ip_range"] != range_]
        if len(kept) == len(network["subnets"]):
            raise invalid_input("ip_range", f"network {network['id']} has no subnet {range_}")
        for server in tables.servers.values():
            for nic in server["private_net"]:
                if nic["network"] == network["id"] and _inside(nic["ip"], range_):
                    raise ApiError(422, "resource_in_use", f"server '{server['name']}' has an address in {range_}")
        network["subnets"] = kept
        action = cloud.actions.begin(tables, "delete_subnet", [("network", network["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def add_route(cloud: Cloud, call: Call) -> Reply:
    """POST /networks/{id}/actions/add_route."""
    fields = Fields(call.body)
    wanted = read_route(fields)
    fields.check()
    with cloud.state.change() as tables:
        network = _get(tables, call)
        network["routes"].append(check_route(network, wanted))
        action = cloud.actions.begin(tables, "add_route", [("network", network["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def delete_route(cloud: Cloud, call: Call) -> Reply:
    """POST /networks/{id}/actions/delete_route."""
    fields = Fields(call.body)
    wanted = read_route(fields)
    fields.check()
    with cloud.state.change() as tables:
        network = _get(tables, call)
        if wanted not in network["routes"]:
            raise invalid_input("destination", f"network {network['id']} has no such route")
        network["routes"].remove(wanted)
        action = cloud.actions.begin(tables, "delete_route", [("network", network["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def change_ip_range(cloud: Cloud, call: Call) -> Reply:
    """POST /networks/{id}/actions/change_ip_range: the range can only grow at its end."""
    fields = Fields(call.body)
    range_ = fields.network("ip_range")
    if not fields.has("ip_range"):
        fields.wrong("ip_range", "is required")
    fields.check()
    assert range_ is not None
    with cloud.state.change() as tables:
        network = _get(tables, call)
        old = ipaddress.IPv4Network(network["ip_range"])
        if range_.network_address != old.network_address or not old.subnet_of(range_) or not range_.is_private:
            raise invalid_input("ip_range", f"{range_} does not extend {old}: only a smaller netmask is possible")
        network["ip_range"] = str(range_)
        key = network["id"]
        work = {"verb": "replug", "lane": f"network:{key}", "network": key}
        action = cloud.actions.begin(tables, "change_ip_range", [("network", key)], work)
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def read_subnet(fields: Fields) -> Record:
    """A subnet of a request: type, network_zone and, if given, ip_range."""
    kind = fields.text("type", choices=("cloud", "server", "vswitch"))
    zones = sorted({str(location["network_zone"]) for location in locations()})
    zone = fields.text("network_zone", choices=zones)
    range_ = fields.network("ip_range")
    if kind == "vswitch":
        fields.wrong("type", "the local cloud has no vSwitch")
    return {"type": kind, "network_zone": zone, "ip_range": str(range_) if range_ else None, "vswitch_id": None}


def check_subnet(network: Record, subnet: Record) -> Record:
    """The subnet as it is added; without a range it gets the first free /24. Raises when it does not fit."""
    whole = ipaddress.IPv4Network(network["ip_range"])
    others = [ipaddress.IPv4Network(other["ip_range"]) for other in network["subnets"]]
    if len(others) >= _MOST_SUBNETS:
        raise limit_exceeded(f"a network has at most {_MOST_SUBNETS} subnets", "network_subnet_limit")
    if subnet["ip_range"] is None:
        free = (r for r in whole.subnets(new_prefix=max(24, whole.prefixlen)) if not any(r.overlaps(o) for o in others))
        if (first := next(free, None)) is None:
            raise invalid_input("ip_range", f"no free /24 in {whole}")
        return {**subnet, "ip_range": str(first)}
    range_ = ipaddress.IPv4Network(subnet["ip_range"])
    if not range_.subnet_of(whole):
        raise invalid_input("ip_range", f"{range_} is not inside of the network's range {whole}")
    if range_.prefixlen > _SMALLEST_PREFIX:
        raise invalid_input("ip_range", f"{range_} is too small: at least /{_SMALLEST_PREFIX}")
    if clash := next((other for other in others if range_.overlaps(other)), None):
        raise invalid_input("ip_range", f"{range_} overlaps with the subnet {clash}")
    return subnet


def read_route(fields: Fields) -> Record:
    """A route of a request."""
    destination = fields.network("destination")
    if not fields.has("destination"):
        fields.wrong("destination", "is required")
    return {"destination": str(destination), "gateway": fields.text("gateway")}


def check_route(network: Record, route: Record) -> Record:
    """The route as it is added. Raises when it does not fit."""
    if len(network["routes"]) >= _MOST_ROUTES:
        raise limit_exceeded(f"a network has at most {_MOST_ROUTES} routes", "network_route_limit")
    if not _inside(route["gateway"], network["ip_range"]):
        raise invalid_input("gateway", f"'{route['gateway']}' is not inside of the network's range")
    if route["gateway"] == gateway(network):
        raise invalid_input("gateway", "is the network's own gateway")
    if any(other["destination"] == route["destination"] for other in network["routes"]):
        raise invalid_input("destination", f"there is a route to {route['destination']} already")
    return route


def _inside(address: str, range_: str) -> bool:
    try:
        return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(range_)
    except ValueError:
        return False


def _get(tables: Tables, call: Call) -> Record:
    return get(tables, "networks", "network", call.id("network"))
