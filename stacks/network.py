"""The private network over all locations, and its one subnet."""

from __future__ import annotations

import pulumi
import pulumi_hcloud as hcloud

from bastide.settings import EU_LOCATIONS, Settings


class PrivateNetwork(pulumi.ComponentResource):
    """A network of the provider with a subnet of type `cloud`. It routes at layer 3: every server has a /32."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bastide:index:PrivateNetwork", name, None, opts)
        child = pulumi.ResourceOptions(parent=self, protect=settings.protection)
        self.network = hcloud.Network(
            f"{name}-network",
            name="bastide",
            ip_range=settings.network.range,
            delete_protection=settings.protection,
            labels={"bastide": pulumi.get_stack()},
            opts=child,
        )
        # a subnet spans one network zone; all EU locations are in the same one
        (zone,) = {EU_LOCATIONS[server.location].network_zone for server in settings.made.values()}
        self.subnet = hcloud.NetworkSubnet(
            f"{name}-subnet",
            network_id=self.network.id.apply(int),
            type="cloud",
            network_zone=zone,
            ip_range=settings.network.subnet,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"network_id": self.network.id, "subnet_id": self.subnet.id})
