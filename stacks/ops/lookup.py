"""A resource that a stopped `pulumi up` may have made: looked for at the provider by its name."""

from __future__ import annotations

from typing import Any

import hcloud

Resource = dict[str, Any]

# what lives in the zones' project, with an output that it has when it was read: the plugin reads these by the id among
# their outputs, which all others lack until then
IN_ZONES_PROJECT = {"Zone": "registrar", "ZoneRrset": "changeProtection"}


def find_resource(client: hcloud.Client, resource: Resource) -> str:
    """The provider's id of a pending resource, "" when it was not made.

    Names are unique in a project. Something of the same name that is another's is not taken over: `pulumi up` then
    says that the name is taken. A reverse name (Rdns) is not looked for: to set it once more does no harm.
    """
    kind, inputs = kind_of(resource), resource.get("inputs", {})
    if kind in IN_ZONES_PROJECT:
        return _find_name(client, kind, inputs)
    if kind == "VolumeAttachment":
        return _find_attachment(client, int(inputs.get("volumeId") or 0), int(inputs.get("serverId") or 0))
    if kind == "NetworkSubnet":
        return _find_subnet(client, int(inputs.get("networkId") or 0), str(inputs.get("ipRange")))
    collections: dict[str, Any] = {
        "Server": client.servers,
        "PrimaryIp": client.primary_ips,
        "Network": client.networks,
        "Firewall": client.firewalls,
        "SshKey": client.ssh_keys,
        "Volume": client.volumes,
    }
    found = collections[kind].get_by_name(inputs.get("name")) if kind in collections else None
    if found is None or (found.labels or {}) != (inputs.get("labels") or {}):
        return ""
    return str(found.id)


def kind_of(resource: Resource) -> str:
    """The last part of its type: `Server`, `ZoneRrset`."""
    return str(resource["type"]).rsplit(":", 1)[-1]


def _find_name(client: hcloud.Client, kind: str, inputs: dict[str, Any]) -> str:
    """A zone by its id, a record set by what the provider plugin calls it: "<name>/<type>"."""
    found: Any
    try:
        found = client.zones.get(str(inputs.get("name" if kind == "Zone" else "zone")))
        if kind == "ZoneRrset":
            found = client.zones.get_rrset(found, inputs["name"], inputs["type"])
    except hcloud.APIException as error:
        if error.code == "not_found":
            return ""
        raise
    return str(found.id) if (found.labels or {}) == (inputs.get("labels") or {}) else ""


def _find_attachment(client: hcloud.Client, volume_id: int, server_id: int) -> str:
    """A volume in this very server: the provider plugin calls the attachment by the volume's id."""
    for volume in client.volumes.get_all():
        if volume.id == volume_id and volume.server and volume.server.id == server_id:
            return str(volume_id)
    return ""


def _find_subnet(client: hcloud.Client, network_id: int, ip_range: str) -> str:
    """A subnet of this very network, by the id that the provider plugin gives it: "<network id>-<range>"."""
    for network in client.networks.get_all():
        if network.id == network_id and any(subnet.ip_range == ip_range for subnet in network.subnets or []):
            return f"{network_id}-{ip_range}"
    return ""
