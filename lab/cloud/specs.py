"""From the records to what the machine side understands."""

from __future__ import annotations

from lab.backend import MachineSpec, PrivateNic, VolumeSpec
from lab.cloud import catalog
from lab.cloud.addresses import public_mac
from lab.cloud.context import Cloud
from lab.cloud.locations import availability_zone, locations
from lab.cloud.state import Record, Tables


def machine_spec(cloud: Cloud, server: Record) -> MachineSpec:
    """What the server's machine is made from."""
    key = server["id"]
    kind = catalog.find(catalog.server_types(), server["server_type"], "server_type")
    place = catalog.find(locations(), server["location"], "location")
    with cloud.state.read() as tables:
        public4, public6 = public_addresses(tables, server)
    return MachineSpec(
        id=key,
        name=server["name"],
        image=catalog.find(catalog.images(), str(server["image"]), "image")["name"],
        cpus=kind["cores"],
        memory_mb=int(kind["memory"] * 1024),
        disk_gb=server["disk_gb"],
        public_mac=public_mac(key),
        public4=public4,
        public6=public6,
        user_data=server["user_data"],
        metadata={
            "hostname": server["name"],
            "instance-id": str(key),
            "availability-zone": availability_zone(place["name"]),
            "region": place["network_zone"],
        },
        ssh_keys=tuple(server["ssh_keys"]),
    )


def volume_spec(record: Record) -> VolumeSpec:
    """What a volume is made from."""
    return VolumeSpec(record["id"], record["size"], record["format"] or "")


def public_addresses(tables: Tables, server: Record) -> tuple[str, str]:
    """The server's public IPv4 address and IPv6 /64; "" where it has none."""
    found = [tables.primary_ips[server[kind]]["ip"] if server[kind] else "" for kind in ("ipv4", "ipv6")]
    return found[0], found[1]


def private_nic(tables: Tables, key: int, network: int) -> PrivateNic | None:
    """The server's interface in a network, or None when it is not (or no longer) in it."""
    record = tables.networks.get(network)
    for nic in tables.servers.get(key, {}).get("private_net", []):
        if nic["network"] == network and record:
            return PrivateNic(network, record["ip_range"], nic["ip"], nic["mac"], tuple(nic["alias_ips"]))
    return None
