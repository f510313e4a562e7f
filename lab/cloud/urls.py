"""Which request goes where: one line per operation of the API."""

from __future__ import annotations

from lab.cloud import (
    assignment,
    catalog,
    firewall_targets,
    firewalls,
    networks,
    placement_groups,
    power,
    primary_ips,
    rrset_records,
    rrsets,
    server_change,
    server_create,
    server_networks,
    servers,
    ssh_keys,
    subnets,
    unsupported,
    volume_actions,
    volumes,
    zones,
)
from lab.cloud.call import Handler
from lab.cloud.collection import all_actions, get_action, get_actions, kind_action, own_action, own_actions

Operation = tuple[str, str, Handler]

_ZONE = "/zones/{id_or_name}"
_RRSET = f"{_ZONE}/rrsets/{{rr_name}}/{{rr_type}}"

# actions on servers that the real cloud has and this one refuses in so many words
_REFUSED = {
    "attach_iso": "ISOs",
    "detach_iso": "ISOs",
    "create_image": "snapshots and backups",
    "enable_backup": "snapshots and backups",
    "disable_backup": "snapshots and backups",
    "enable_rescue": "rescue system",
    "disable_rescue": "rescue system",
    "request_console": "console over the API: use `lab exec`",
    "reset_password": "root passwords: keys and user_data are the way in",
}


def operations() -> list[Operation]:
    """All operations as method, path below /v1 in the description's form, and handler; fixed paths come first."""
    return [*_action_lists(), *_WRITTEN_OUT, *_refused(), *_empty()]


def refused() -> set[tuple[str, str]]:
    """The operations that answer, but only to say that this cloud has no such thing."""
    return {(method, path) for method, path, _ in [*_refused(), *_empty()]}


_WRITTEN_OUT: list[Operation] = [
    ("GET", "/actions", get_actions),
    ("GET", "/actions/{id}", get_action),
    ("GET", "/locations", catalog.list_locations),
    ("GET", "/locations/{id}", catalog.get_location),
    ("GET", "/server_types", catalog.list_server_types),
    ("GET", "/server_types/{id}", catalog.get_server_type),
    ("GET", "/images", catalog.list_images),
    ("GET", "/images/{id}", catalog.get_image),
    ("GET", "/pricing", unsupported.pricing),
    ("GET", "/datacenters", unsupported.datacenters),
    ("GET", "/datacenters/{id}", unsupported.datacenters),
    ("GET", "/ssh_keys", ssh_keys.show_all),
    ("POST", "/ssh_keys", ssh_keys.create),
    ("GET", "/ssh_keys/{id}", ssh_keys.show),
    ("PUT", "/ssh_keys/{id}", ssh_keys.update),
    ("DELETE", "/ssh_keys/{id}", ssh_keys.delete),
    ("GET", "/placement_groups", placement_groups.show_all),
    ("POST", "/placement_groups", placement_groups.create),
    ("GET", "/placement_groups/{id}", placement_groups.show),
    ("PUT", "/placement_groups/{id}", placement_groups.update),
    ("DELETE", "/placement_groups/{id}", placement_groups.delete),
    ("GET", "/networks", networks.show_all),
    ("POST", "/networks", networks.create),
    ("GET", "/networks/{id}", networks.show),
    ("PUT", "/networks/{id}", networks.update),
    ("DELETE", "/networks/{id}", networks.delete),
    ("POST", "/networks/{id}/actions/add_subnet", subnets.add_subnet),
    ("POST", "/networks/{id}/actions/delete_subnet", subnets.delete_subnet),
    ("POST", "/networks/{id}/actions/add_route", subnets.add_route),
    ("POST", "/networks/{id}/actions/delete_route", subnets.delete_route),
    ("POST", "/networks/{id}/actions/change_ip_range", subnets.change_ip_range),
    ("POST", "/networks/{id}/actions/change_protection", networks.change_protection),
    ("GET", "/firewalls", firewalls.show_all),
    ("POST", "/firewalls", firewalls.create),
    ("GET", "/firewalls/{id}", firewalls.show),
    ("PUT", "/firewalls/{id}", firewalls.update),
    ("DELETE", "/firewalls/{id}", firewalls.delete),
    ("POST", "/firewalls/{id}/actions/set_rules", firewalls.set_rules),
    ("POST", "/firewalls/{id}/actions/apply_to_resources", firewall_targets.apply_to_resources),
    ("POST", "/firewalls/{id}/actions/remove_from_resources", firewall_targets.remove_from_resources),
    ("GET", "/primary_ips", primary_ips.show_all),
    ("POST", "/primary_ips", primary_ips.create),
    ("GET", "/primary_ips/{id}", primary_ips.show),
    ("PUT", "/primary_ips/{id}", primary_ips.update),
    ("DELETE", "/primary_ips/{id}", primary_ips.delete),
    ("POST", "/primary_ips/{id}/actions/assign", assignment.assign),
    ("POST", "/primary_ips/{id}/actions/unassign", assignment.unassign),
    ("POST", "/primary_ips/{id}/actions/change_dns_ptr", primary_ips.change_dns_ptr),
    ("POST", "/primary_ips/{id}/actions/change_protection", primary_ips.change_protection),
    ("GET", "/servers", servers.show_all),
    ("POST", "/servers", server_create.create),
    ("GET", "/servers/{id}", servers.show),
    ("PUT", "/servers/{id}", servers.update),
    ("DELETE", "/servers/{id}", servers.delete),
    ("POST", "/servers/{id}/actions/poweron", power.poweron),
    ("POST", "/servers/{id}/actions/poweroff", power.poweroff),
    ("POST", "/servers/{id}/actions/shutdown", power.shutdown),
    ("POST", "/servers/{id}/actions/reboot", power.reboot),
    ("POST", "/servers/{id}/actions/reset", power.reset),
    ("POST", "/servers/{id}/actions/rebuild", server_change.rebuild),
    ("POST", "/servers/{id}/actions/change_type", server_change.change_type),
    ("POST", "/servers/{id}/actions/change_protection", servers.change_protection),
    ("POST", "/servers/{id}/actions/change_dns_ptr", servers.change_dns_ptr),
    ("POST", "/servers/{id}/actions/attach_to_network", server_networks.attach),
    ("POST", "/servers/{id}/actions/detach_from_network", server_networks.detach),
    ("POST", "/servers/{id}/actions/change_alias_ips", server_networks.change_alias_ips),
    ("POST", "/servers/{id}/actions/add_to_placement_group", server_change.add_to_placement_group),
    ("POST", "/servers/{id}/actions/remove_from_placement_group", server_change.remove_from_placement_group),
    ("GET", "/volumes", volumes.show_all),
    ("POST", "/volumes", volumes.create),
    ("GET", "/volumes/{id}", volumes.show),
    ("PUT", "/volumes/{id}", volumes.update),
    ("DELETE", "/volumes/{id}", volumes.delete),
    ("POST", "/volumes/{id}/actions/attach", volume_actions.attach),
    ("POST", "/volumes/{id}/actions/detach", volume_actions.detach),
    ("POST", "/volumes/{id}/actions/resize", volume_actions.resize),
    ("POST", "/volumes/{id}/actions/change_protection", volumes.change_protection),
    ("GET", "/zones", zones.show_all),
    ("POST", "/zones", zones.create),
    ("GET", _ZONE, zones.show),
    ("PUT", _ZONE, zones.update),
    ("DELETE", _ZONE, zones.delete),
    ("GET", f"{_ZONE}/zonefile", zones.export_zonefile),
    ("POST", f"{_ZONE}/actions/import_zonefile", zones.import_zonefile),
    ("POST", f"{_ZONE}/actions/change_ttl", zones.change_ttl),
    ("POST", f"{_ZONE}/actions/change_protection", zones.change_protection),
    ("POST", f"{_ZONE}/actions/change_primary_nameservers", zones.change_primary_nameservers),
    ("GET", f"{_ZONE}/rrsets", rrsets.show_all),
    ("POST", f"{_ZONE}/rrsets", rrsets.create),
    ("GET", _RRSET, rrsets.show),
    ("PUT", _RRSET, rrsets.update),
    ("DELETE", _RRSET, rrsets.delete),
    ("POST", f"{_RRSET}/actions/change_ttl", rrsets.change_ttl),
    ("POST", f"{_RRSET}/actions/change_protection", rrsets.change_protection),
    ("POST", f"{_RRSET}/actions/add_records", rrset_records.add_records),
    ("POST", f"{_RRSET}/actions/remove_records", rrset_records.remove_records),
    ("POST", f"{_RRSET}/actions/set_records", rrset_records.set_records),
    ("POST", f"{_RRSET}/actions/update_records", rrset_records.update_records),
]


def _action_lists() -> list[Operation]:
    kinds = {
        "servers": "server",
        "networks": "network",
        "firewalls": "firewall",
        "primary_ips": "primary_ip",
        "volumes": "volume",
    }
    found: list[Operation] = []
    for collection, kind in kinds.items():
        found += [
            ("GET", f"/{collection}/actions", all_actions(kind)),
            ("GET", f"/{collection}/actions/{{id}}", kind_action(kind)),
            ("GET", f"/{collection}/{{id}}/actions", own_actions(kind, collection)),
            ("GET", f"/{collection}/{{id}}/actions/{{action_id}}", own_action(kind, collection)),
        ]
    found += [
        ("GET", "/zones/actions", all_actions("zone")),
        ("GET", "/zones/actions/{id}", kind_action("zone")),
        ("GET", "/zones/{id_or_name}/actions", own_actions("zone", "zones")),
        ("GET", "/zones/{id_or_name}/actions/{action_id}", own_action("zone", "zones")),
    ]
    return found


def _refused() -> list[Operation]:
    path = "/servers/{id}/actions/"
    return [("POST", path + action, power.unsupported_action(what)) for action, what in _REFUSED.items()]


def _empty() -> list[Operation]:
    found: list[Operation] = []
    for collection in unsupported.EMPTY:
        found.append(("GET", f"/{collection}", unsupported.empty_list(collection)))
        found.append(("POST", f"/{collection}", unsupported.cannot_make(collection)))
        found += [
            (method, f"/{collection}/{{id}}", unsupported.none_of(collection)) for method in ("GET", "PUT", "DELETE")
        ]
    return found
