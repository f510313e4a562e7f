"""Private networks: ranges, subnets and routes. Who is attached stands in the servers' records."""

from __future__ import annotations

import ipaddress

from lab.cloud.addresses import gateway
from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name, get, rename
from lab.cloud.context import Cloud
from lab.cloud.errors import invalid_input, protected
from lab.cloud.fields import Fields
from lab.cloud.listing import listed
from lab.cloud.state import Record, Tables
from lab.cloud.subnets import check_route, check_subnet, read_route, read_subnet

# RFC 1918; networks must be /24 or larger (docs.hetzner.com, "Networks FAQ")
_PRIVATE = [ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
# how long the answer to a delete waits until the machines are unplugged; the rest goes on behind it
_DELETE_PATIENCE = 5.0


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /networks."""
    fields = Fields(call.body)
    name, labels, range_ = fields.text("name"), fields.labels(), fields.network("ip_range")
    if not fields.has("ip_range"):
        fields.wrong("ip_range", "is required")
    subnets = [read_subnet(item) for item in fields.objects("subnets")]
    routes = [read_route(item) for item in fields.objects("routes")]
    expose = fields.flag("expose_routes_to_vswitch", False)
    fields.check()
    assert range_ is not None
    check_range(range_)
    with cloud.state.change() as tables:
        check_name(tables.networks, "network", name)
        record: Record = {
            "id": tables.new_id(),
            "name": name,
            "ip_range": str(range_),
            "subnets": [],
            "routes": [],
            "labels": labels or {},
            "protection": {"delete": False},
            "expose_routes_to_vswitch": expose,
            "created": cloud.now(),
        }
        for subnet in subnets:
            record["subnets"].append(check_subnet(record, subnet))
        for route in routes:
            record["routes"].append(check_route(record, route))
        tables.networks[record["id"]] = record
        return Reply(201, {"network": shown(tables, record)})


def show_all(cloud: Cloud, call: Call) -> Reply:
    """GET /networks."""
    with cloud.state.read() as tables:
        return listed(call, "networks", [shown(tables, record) for record in tables.networks.values()])


def show(cloud: Cloud, call: Call) -> Reply:
    """GET /networks/{id}."""
    with cloud.state.read() as tables:
        return Reply(200, {"network": shown(tables, _get(tables, call))})


def update(cloud: Cloud, call: Call) -> Reply:
    """PUT /networks/{id}: name, labels, expose_routes_to_vswitch."""
    fields = Fields(call.body)
    with cloud.state.change() as tables:
        record = _get(tables, call)
        record["expose_routes_to_vswitch"] = fields.flag("expose_routes_to_vswitch", record["expose_routes_to_vswitch"])
        rename(tables.networks, "network", record, fields)
        return Reply(200, {"network": shown(tables, record)})


def delete(cloud: Cloud, call: Call) -> Reply:
    """DELETE /networks/{id}: attached servers are detached."""
    with cloud.state.change() as tables:
        record = _get(tables, call)
        key = record["id"]
        if record["protection"]["delete"]:
            raise protected(f"network '{record['name']}'")
        servers = attached(tables, key)
        for server in servers:
            nics = tables.servers[server]["private_net"]
            tables.servers[server]["private_net"] = [nic for nic in nics if nic["network"] != key]
        del tables.networks[key]
        work = {"verb": "delete_network", "lane": f"network:{key}", "network": key, "servers": servers}
        action = cloud.actions.begin(tables, "delete_network", [("network", key)], work)
    cloud.actions.launch([action], _DELETE_PATIENCE)
    return Reply(204)


def change_protection(cloud: Cloud, call: Call) -> Reply:
    """POST /networks/{id}/actions/change_protection."""
    fields = Fields(call.body)
    delete_ = fields.maybe_flag("delete")
    fields.check()
    with cloud.state.change() as tables:
        record = _get(tables, call)
        if delete_ is not None:
            record["protection"] = {"delete": delete_}
        action = cloud.actions.begin(tables, "change_protection", [("network", record["id"])])
    return Reply(201, {"action": cloud.actions.launch([action])[0]})


def attached(tables: Tables, network: int) -> list[int]:
    """The ids of the servers in a network."""
    return [
        server["id"]
        for server in tables.servers.values()
        if any(nic["network"] == network for nic in server["private_net"])
    ]


def check_range(range_: ipaddress.IPv4Network) -> None:
    """Raise when a network cannot have this range."""
    if not any(range_.subnet_of(private) for private in _PRIVATE):
        raise invalid_input("ip_range", f"{range_} is not in a private range (RFC 1918)")
    if range_.prefixlen > 24:
        raise invalid_input("ip_range", f"{range_} is too small: at least /24")


def shown(tables: Tables, record: Record) -> Record:
    """A network as the API shows it."""
    subnets = [{**subnet, "gateway": gateway(record)} for subnet in record["subnets"]]
    return {**record, "subnets": subnets, "servers": attached(tables, record["id"]), "load_balancers": []}


def _get(tables: Tables, call: Call) -> Record:
    return get(tables, "networks", "network", call.id("network"))
