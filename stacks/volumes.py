"""Volumes: disks beside the servers' own. They outlive the servers, and what fills one disk does not fill the other."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_hcloud as hcloud

from bastide.settings import Settings
from stacks.servers import MadeServer, Servers


class Volumes(pulumi.ComponentResource):
    """A volume for each server that is to have one, attached to it and mounted by nobody: a deploy does that.

    `wanted` is the size in gigabytes by the server's name. A server of somebody else gets none.
    """

    def __init__(
        self,
        name: str,
        wanted: Mapping[str, int],
        servers: Servers,
        settings: Settings,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bastide:index:Volumes", name, None, opts)
        self._settings = settings
        self.devices: dict[str, pulumi.Output[str]] = {
            server_name: self._make(server_name, size, servers.made[server_name])
            for server_name, size in wanted.items()
            if server_name in servers.made
        }
        """The path of each volume's device in its server, known once it is attached, by the server's name."""
        self.register_outputs({"devices": self.devices})

    def _make(self, name: str, size: int, made: MadeServer) -> pulumi.Output[str]:
        settings = self._settings
        server = settings.made[name]
        volume = hcloud.Volume(
            f"{name}-volume",
            name=f"{name}-volume",
            size=size,
            location=server.location,
            format="ext4",
            labels={"bastide": pulumi.get_stack(), "role": server.role},
            delete_protection=settings.protection,
            # what is on it would be gone: no edited word makes a volume anew
            opts=pulumi.ResourceOptions(
                parent=self, protect=settings.protection, ignore_changes=["location", "format"]
            ),
        )
        attachment = hcloud.VolumeAttachment(
            f"{name}-volume",
            volume_id=volume.id.apply(int),
            server_id=made.server.id.apply(int),
            automount=False,
            # a volume is in one server at a time: out of the old one first. Nothing is lost by that, so no protection
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        return pulumi.Output.all(volume.linux_device, attachment.id).apply(lambda both: str(both[0]))
