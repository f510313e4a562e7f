"""What a new machine is told about itself: cloud-init's NoCloud seed, and the same as Hetzner's metadata documents.

Pure text, and `write` to lay the seed into a disk. YAML values are written as JSON strings, which YAML reads the same
and which keeps a MAC address or "off" from becoming a number or a boolean.
"""

from __future__ import annotations

import json
import os
from ipaddress import IPv6Network, ip_network
from pathlib import Path

from bastide.errors import LabError
from lab.backend import MachineSpec
from lab.machines.recipe import RESOLVERS
from lab.machines.store import Plug
from lab.place import GATEWAY4, GATEWAY6

SEED = "var/lib/cloud/seed/nocloud"


def write(root: Path, spec: MachineSpec) -> None:
    """Lay the seed into the machine's file system `root`."""
    for name, text in (
        ("user-data", spec.user_data or "#cloud-config\n{}\n"),
        ("meta-data", meta_data(spec)),
        ("network-config", "\n".join(["version: 1", "config:", *network_config(spec)]) + "\n"),
    ):
        lay(root, f"{SEED}/{name}", text)


def lay(root: Path, name: str, text: str) -> None:
    """Write a file of a machine whose file system is `root`, readable by its root only, in a folder of the same kind.

    The machine may have made links, which would lead to the host's own files from here. Raises `LabError` when one
    stands on the way; one in the file's own place is replaced.
    """
    *folders, last = name.split("/")
    folder = root
    for number, part in enumerate(folders, start=1):
        folder /= part
        if folder.is_symlink():
            raise LabError(f"{folder} is a symbolic link: it would lead out of the machine", "remove it in the machine")
        folder.mkdir(mode=0o700 if number == len(folders) else 0o755, exist_ok=True)
    (folder / last).unlink(missing_ok=True)
    with os.fdopen(os.open(folder / last, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def meta_data(spec: MachineSpec) -> str:
    """NoCloud's meta-data. Keys of the server go to root (Hetzner's "public-keys")."""
    value = {
        "instance-id": spec.metadata.get("instance-id", str(spec.id)),
        "local-hostname": spec.metadata.get("hostname", spec.name),
        "public-keys": list(spec.ssh_keys),
    }
    return json.dumps(value, indent=1) + "\n"


def network_config(spec: MachineSpec) -> list[str]:
    """The lines of cloud-init's network configuration version 1 below `config:`, as Hetzner's metadata has them.

    A /32 with a gateway outside of it, and the first address of the /64 with a link-local gateway.
    """
    subnets: list[str] = []
    if spec.public4:
        subnets += [
            "    - type: static",
            f"      address: {spec.public4}/32",
            f"      gateway: {GATEWAY4}",
            "      ipv4: true",
            "      dns_nameservers:",
            *(f"      - {address}" for address in RESOLVERS),
        ]
    if spec.public6:
        subnets += [
            "    - type: static6",
            f"      address: {first_address(spec.public6)}/64",
            f"      gateway: {GATEWAY6}",
            "      ipv6: true",
        ]
    if not subnets:
        return ["  []"]
    return [
        "  - type: physical",
        "    name: eth0",
        f"    mac_address: {json.dumps(spec.public_mac)}",
        "    subnets:",
        *subnets,
    ]


def first_address(prefix: str) -> str:
    """The address that a machine takes of its /64: ::1."""
    return str(IPv6Network(prefix)[1])


def metadata_document(spec: MachineSpec) -> str:
    """Hetzner's /hetzner/v1/metadata: a YAML document (docs.hetzner.cloud, "Server metadata")."""
    plain = {**metadata_keys(spec), "local-ipv4": ""}
    lines = [f"{key}: {_scalar(value)}" for key, value in sorted(plain.items()) if key != "public-keys"]
    lines += ["network-config:", "  version: 1", "  config:", *network_config(spec)]
    lines += [f"public-keys: {json.dumps(list(spec.ssh_keys))}", 'vendor_data: ""']
    return "\n".join(lines) + "\n"


def metadata_keys(spec: MachineSpec) -> dict[str, str]:
    """The keys that answer one by one below /hetzner/v1/metadata/."""
    return {
        "hostname": spec.name,
        "instance-id": str(spec.id),
        "public-ipv4": spec.public4,
        **spec.metadata,
        "public-keys": json.dumps(list(spec.ssh_keys)),
    }


def private_networks(plugs: tuple[Plug, ...]) -> str:
    """Hetzner's /hetzner/v1/metadata/private-networks: a YAML list."""
    lines: list[str] = []
    for plug in plugs:
        nic = plug.nic
        network = ip_network(nic.network_range)
        lines += [
            f"- ip: {nic.address}",
            f"  alias_ips: {json.dumps(list(nic.alias_addresses))}",
            f"  interface_num: {plug.slot + 1}",
            f"  mac_address: {json.dumps(nic.mac)}",
            f"  network_id: {nic.network_id}",
            f"  network: {network}",
            f"  gateway: {network[1]}",
        ]
    return "\n".join(lines) + "\n" if lines else "[]\n"


def _scalar(value: str) -> str:
    return value if value.isdigit() else json.dumps(value)
