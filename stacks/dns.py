"""Zones at the provider's name servers, the record sets in them, and the reverse names of the machines' addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_hcloud as hcloud

from bastide.settings import RecordSet, Settings, Zone
from bastide.settings.dns import Dns as DnsSettings
from stacks.servers import Servers


@dataclass(frozen=True)
class Addresses:
    """A machine's public addresses. `primary_ips` are the provider's objects that carry reverse names, by family.

    A server of somebody else has none of those, and may have no `v6`.
    """

    v4: pulumi.Output[str]
    v6: pulumi.Output[str] | None
    primary_ips: Mapping[str, hcloud.PrimaryIp]


def site_addresses(settings: Settings, servers: Servers) -> dict[str, Addresses]:
    """The public addresses of every machine by name. The one place that knows where they come from."""
    found = {}
    for name, (v4, v6) in servers.addresses.items():
        made, existing = servers.made.get(name), settings.existing.get(name)
        found[name] = Addresses(
            v4,
            None if existing and existing.address6 is None else v6,
            {"ipv4": made.ipv4, "ipv6": made.ipv6} if made else {},
        )
    return found


class Dns(pulumi.ComponentResource):
    """Every zone of the settings with its record sets, and a reverse name for each address of the provider's.

    `token` opens the provider's project that the zones live in, when it is another one than that of the servers.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        wanted: DnsSettings,
        addresses: Mapping[str, Addresses],
        token: pulumi.Output[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bastide:index:Dns", name, None, opts)
        self._settings = settings
        self._addresses = addresses
        self._provider = self._other_project(token) if token is not None else None
        for zone_name, zone in wanted.zones.items():
            self._zone(zone_name, zone, machines=wanted.reverse == zone_name)
        if wanted.reverse is not None:
            self._reverse_names(wanted.reverse)
        self.register_outputs({})

    def _zone(self, name: str, zone: Zone, *, machines: bool) -> None:
        protect = self._settings.protection
        made = hcloud.Zone(
            name,
            name=name,
            mode="primary",
            ttl=zone.ttl,
            delete_protection=protect,
            labels={"bastide": pulumi.get_stack()},
            opts=self._options(protect=protect),
        )
        for record_set in record_sets(zone):
            self._record_set(made, name, record_set.name, record_set.type, record_set.wire_values(), record_set.ttl)
        leading = dict.fromkeys(zone.sites, self._sites())
        if machines:
            leading |= {machine: [machine] for machine in self._addresses}
        for owner, members in leading.items():
            self._record_set(made, name, owner, "A", [self._addresses[machine].v4 for machine in members])
            sixes = [v6 for machine in members if (v6 := self._addresses[machine].v6) is not None]
            if sixes:
                self._record_set(made, name, owner, "AAAA", sixes)

    def _sites(self) -> list[str]:
        return [name for name, server in self._settings.servers.items() if server.role != "witness"]

    def _record_set(
        self,
        zone: hcloud.Zone,
        zone_name: str,
        owner: str,
        kind: str,
        values: Sequence[pulumi.Input[str]],
        ttl: int | None = None,
    ) -> None:
        """A record set, named as the provider imports it: zone/name/type."""
        hcloud.ZoneRrset(
            f"{zone_name}/{owner}/{kind}",
            zone=zone.name,
            name=owner,
            type=kind,
            ttl=ttl,
            records=[hcloud.ZoneRrsetRecordArgs(value=value) for value in values],
            labels={"bastide": pulumi.get_stack()},
            opts=self._options(),
        )

    def _reverse_names(self, zone: str) -> None:
        """They belong to the addresses, so to the servers' project."""
        for machine, found in self._addresses.items():
            for family, primary_ip in found.primary_ips.items():
                hcloud.Rdns(
                    f"{machine}-{family}-reverse",
                    primary_ip_id=primary_ip.id.apply(int),
                    ip_address=found.v4 if family == "ipv4" or found.v6 is None else found.v6,
                    dns_ptr=f"{machine}.{zone}",
                    opts=pulumi.ResourceOptions(parent=self),
                )

    def _options(self, *, protect: bool = False) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, protect=protect, provider=self._provider)

    def _other_project(self, token: pulumi.Output[str]) -> hcloud.Provider:
        """The same provider with another key."""
        config = pulumi.Config("hcloud")
        return hcloud.Provider(
            "dns-project",
            token=token,
            endpoint=config.get("endpoint"),
            poll_interval=config.get("pollInterval"),
            opts=pulumi.ResourceOptions(parent=self),
        )


def record_sets(zone: Zone) -> tuple[RecordSet, ...]:
    """The declared record sets of a zone, and the one that says who may issue certificates."""
    return (RecordSet(name="@", type="CAA", values=zone.caa.values()), *zone.records)
