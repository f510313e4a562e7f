"""POST /servers: checks everything, writes the order down, and answers at once; the machine is made behind it."""

from __future__ import annotations

import secrets
from typing import Any

from lab.cloud import catalog, volumes
from lab.cloud.addresses import private_address, private_mac
from lab.cloud.call import Call, Reply
from lab.cloud.collection import check_name
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError, invalid_input, limit_exceeded, unsupported
from lab.cloud.fields import Fields
from lab.cloud.firewall_targets import apply
from lab.cloud.locations import locations
from lab.cloud.placement_groups import check_room
from lab.cloud.primary_ips import DATACENTER, add
from lab.cloud.server_networks import MOST_NETWORKS, begin_attach
from lab.cloud.servers import check_hostname, shown_now
from lab.cloud.ssh_keys import public_keys
from lab.cloud.state import Record, Tables
from lab.cloud.volumes import NO_AUTOMOUNT

# docs.hetzner.cloud, POST /servers: user_data is limited to 32 KiB
MOST_USER_DATA = 32 * 1024


def create(cloud: Cloud, call: Call) -> Reply:
    """POST /servers."""
    fields = Fields(call.body)
    order = _read(fields)
    fields.check()
    with cloud.state.change() as tables:
        server = _order(cloud, tables, order)
        key = server["id"]
        first = _begin(cloud, tables, "create_server", "create", server)
        # plugged in before it starts, so that its first boot finds all interfaces
        following = [begin_attach(cloud, tables, server, nic["network"]) for nic in server["private_net"]]
        following += [volumes.begin_attach(cloud, tables, record, server) for record in _volumes(tables, server, order)]
        if order["start"]:
            following.append(_begin(cloud, tables, "start_server", "start", server))
    action, *next_actions = cloud.actions.launch([first, *following], patience=0.0)
    # with no key the real cloud sets this password for root; here user_data and keys are the only way in, and the
    # answer has one because clients expect it
    password = None if order["ssh_keys"] else secrets.token_urlsafe(15)
    body = {"server": shown_now(cloud, key), "action": action, "next_actions": next_actions}
    return Reply(201, {**body, "root_password": password})


def bootable_image(key: str, architecture: str, field: str = "image") -> Record:
    """The image with this id or name for machines of an architecture. Raises when machines cannot be made from it."""
    fits = [image for image in catalog.images() if image["architecture"] == architecture]
    image = catalog.find(fits if not key.isdecimal() else catalog.images(), key, field)
    if image["architecture"] != architecture:
        raise invalid_input(field, f"image {key} is for {image['architecture']}, the server type for {architecture}")
    if image["name"] != catalog.BOOTABLE:
        raise unsupported(f"the local cloud cannot boot image '{image['name']}', only '{catalog.BOOTABLE}'")
    if architecture != "x86":
        raise unsupported("the local cloud has no machines of architecture arm: take a cx, cpx or ccx type")
    return image


def _read(fields: Fields) -> dict[str, Any]:
    """The request's fields, each of the right type; what they refer to is checked later."""
    name = fields.text("name")
    check_hostname(fields, name)
    public = fields.object("public_net")
    fields.refuse("datacenter", DATACENTER)
    if fields.flag("automount", False):
        fields.wrong("automount", NO_AUTOMOUNT)
    return {
        "name": name,
        "server_type": fields.reference("server_type"),
        "image": fields.reference("image"),
        "location": fields.maybe_reference("location"),
        "ssh_keys": fields.references("ssh_keys"),
        "user_data": fields.maybe_text("user_data", longest=MOST_USER_DATA) or "",
        "labels": fields.labels() or {},
        "firewalls": [item.number("firewall") for item in fields.objects("firewalls")],
        "networks": fields.numbers("networks"),
        "volumes": fields.numbers("volumes"),
        "placement_group": fields.maybe_number("placement_group"),
        "start": fields.flag("start_after_create", True),
        "ipv4": public.maybe_number("ipv4"),
        "ipv6": public.maybe_number("ipv6"),
        "enable_ipv4": public.flag("enable_ipv4", True),
        "enable_ipv6": public.flag("enable_ipv6", True),
    }


def _order(cloud: Cloud, tables: Tables, order: dict[str, Any]) -> Record:
    """Check what the request refers to, and write the server and all that comes with it into the records."""
    check_name(tables.servers, "server", order["name"])
    kind = catalog.find(catalog.server_types(), order["server_type"], "server_type")
    if kind["deprecated"]:
        raise ApiError(422, "invalid_server_type", f"server type {kind['name']} is deprecated and no longer sold")
    image = bootable_image(order["image"], kind["architecture"])
    location = _location(tables, kind, order)
    if order["placement_group"] is not None:
        check_room(tables, order["placement_group"])
    if not (order["enable_ipv4"] or order["enable_ipv6"] or order["networks"]) and order["start"]:
        raise invalid_input("public_net", "a server without any network cannot be started")
    server: Record = {
        "id": tables.new_id(),
        "name": order["name"],
        "created": cloud.now(),
        "server_type": kind["name"],
        "image": image["id"],
        "location": location,
        "labels": order["labels"],
        "protection": {"delete": False, "rebuild": False},
        "user_data": order["user_data"],
        "ssh_keys": public_keys(tables, order["ssh_keys"]),
        "ipv4": None,
        "ipv6": None,
        "private_net": [],
        "placement_group": order["placement_group"],
        "disk_gb": kind["disk"],
        "made": False,
        "power": "off",
        "dark": False,
    }
    tables.servers[server["id"]] = server
    for family in ("ipv4", "ipv6"):
        _public(cloud, tables, server, family, order)
    _private(tables, server, order["networks"])
    for firewall in order["firewalls"]:
        if firewall not in tables.firewalls:
            raise invalid_input("firewalls", f"firewall with ID '{firewall}' does not exist")
        apply(tables, tables.firewalls[firewall], [("server", server["id"])])
    return server


def _location(tables: Tables, kind: Record, order: dict[str, Any]) -> str:
    """Where the server goes: as asked, where its primary IPs are, or where its type is sold."""
    sold = [str(place["name"]) for place in kind["locations"]]
    held = [tables.primary_ips[order[f]]["location"] for f in ("ipv4", "ipv6") if order[f] in tables.primary_ips]
    wanted = order["location"] or next(iter(held), sold[0])
    location = str(catalog.find(locations(), wanted, "location")["name"])
    if location not in sold:
        raise invalid_input("server_type", f"{kind['name']} is not available in {location}")
    return location


def _public(cloud: Cloud, tables: Tables, server: Record, family: str, order: dict[str, Any]) -> None:
    """Give the server its public address: an existing primary IP, or a new one that goes away with it."""
    wanted = order[family]
    if not order[f"enable_{family}"]:
        if wanted is not None:
            raise invalid_input(f"public_net.{family}", f"is given although enable_{family} is false")
        return
    if wanted is None:
        record = add(cloud, tables, family, server["location"], auto_delete=True)
    else:
        if wanted not in tables.primary_ips:
            raise invalid_input(f"public_net.{family}", f"primary IP with ID '{wanted}' does not exist")
        record = tables.primary_ips[wanted]
        if record["type"] != family:
            raise ApiError(422, "primary_ip_version_mismatch", f"primary IP '{record['name']}' is not {family}")
        if record["assignee"] is not None:
            raise ApiError(422, "primary_ip_assigned", f"primary IP '{record['name']}' is assigned to another server")
        if record["location"] != server["location"]:
            # the code kept its name when datacenters went away
            message = f"primary IP '{record['name']}' is in {record['location']}, not in {server['location']}"
            raise ApiError(422, "primary_ip_datacenter_mismatch", message)
    record["assignee"], server[family] = server["id"], record["id"]


def _private(tables: Tables, server: Record, networks: list[int]) -> None:
    zone = catalog.find(locations(), server["location"], "location")["network_zone"]
    if len(networks) > MOST_NETWORKS:
        raise limit_exceeded(f"a server is in at most {MOST_NETWORKS} networks", "server_network_limit")
    if len(set(networks)) != len(networks):
        raise invalid_input("networks", "names a network twice")
    for key in networks:
        if key not in tables.networks:
            raise invalid_input("networks", f"network with ID '{key}' does not exist")
        ip = private_address(tables, tables.networks[key], zone)
        mac = private_mac(server["id"], key)
        server["private_net"].append({"network": key, "ip": ip, "alias_ips": [], "mac": mac})


def _volumes(tables: Tables, server: Record, order: dict[str, Any]) -> list[Record]:
    """The existing volumes that the server gets."""
    volumes.check_room(tables, server, len(order["volumes"]))
    if len(set(order["volumes"])) != len(order["volumes"]):
        raise invalid_input("volumes", "names a volume twice")
    found = []
    for key in order["volumes"]:
        if key not in tables.volumes:
            raise invalid_input("volumes", f"volume with ID '{key}' does not exist")
        volumes.check_free(tables, tables.volumes[key])
        volumes.check_attachable(tables.volumes[key], server, "volumes")
        found.append(tables.volumes[key])
    return found


def _begin(cloud: Cloud, tables: Tables, command: str, verb: str, server: Record) -> int:
    work = {"verb": verb, "lane": f"server:{server['id']}", "server": server["id"]}
    return cloud.actions.begin(tables, command, [("server", server["id"])], work)
