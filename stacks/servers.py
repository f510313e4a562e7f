"""The servers, and their addresses, which outlive them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_hcloud as hcloud

from bastide.secrets import Keyring
from bastide.settings import Server, Settings
from stacks.cloud_init import user_data
from stacks.firewall import CloudFirewall
from stacks.network import PrivateNetwork

# A server is replaced by a person's decision (a raised generation and `pulumi up --replace`), never because a newer
# image came out, a key was added or this program writes its user_data in another way.
NEVER_REPLACED_BY = ("image", "sshKeys", "userData")


@dataclass(frozen=True)
class MadeServer:
    """A server with its two primary addresses."""

    server: hcloud.Server
    ipv4: hcloud.PrimaryIp
    ipv6: hcloud.PrimaryIp


class Servers(pulumi.ComponentResource):
    """Every server of the stack by name, with firewall, private address and both primary IPs from the first moment."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        keyring: pulumi.Output[Keyring],
        network: PrivateNetwork,
        firewall: CloudFirewall,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bastide:index:Servers", name, None, opts)
        self._settings = settings
        # a key at creation keeps the provider from mailing a root password; root cannot log in with it (disable_root)
        self._key = hcloud.SshKey(
            "automation-key",
            name="bastide",
            public_key=settings.users.automation.key,
            labels={"bastide": pulumi.get_stack()},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.made = {
            server_name: self._make(server_name, server, keyring, network, firewall)
            for server_name, server in settings.servers.items()
        }
        self.register_outputs({"server_ids": {key: made.server.id for key, made in self.made.items()}})

    def _make(
        self,
        name: str,
        server: Server,
        keyring: pulumi.Output[Keyring],
        network: PrivateNetwork,
        firewall: CloudFirewall,
    ) -> MadeServer:
        settings = self._settings
        labels = {"bastide": pulumi.get_stack(), "role": server.role}
        ipv4 = self._address(name, "ipv4", server, labels)
        ipv6 = self._address(name, "ipv6", server, labels)
        data = keyring.apply(lambda ring: user_data(settings, ring.bootstrap_host_key(name, server.generation)))
        made = hcloud.Server(
            name,
            name=name,
            server_type=server.type,
            image=server.image,
            location=server.location,
            labels=labels,
            ssh_keys=[self._key.id],
            user_data=data,  # secret, since the keyring is: encrypted in the state, hidden in diffs
            firewall_ids=[firewall.firewall.id.apply(int)],
            public_nets=[
                hcloud.ServerPublicNetArgs(
                    ipv4_enabled=True, ipv4=ipv4.id.apply(int), ipv6_enabled=True, ipv6=ipv6.id.apply(int)
                )
            ],
            # the subnet, not the network: with the network alone server and subnet race at creation
            networks=[hcloud.ServerNetworkArgs(subnet_id=network.subnet.id, ip=server.private_address, alias_ips=[])],
            # the provider wants both or neither
            delete_protection=settings.protection,
            rebuild_protection=settings.protection,
            opts=pulumi.ResourceOptions(
                parent=self, protect=settings.protection, ignore_changes=list(NEVER_REPLACED_BY)
            ),
        )
        return MadeServer(made, ipv4, ipv6)

    def _address(self, name: str, kind: str, server: Server, labels: dict[str, str]) -> hcloud.PrimaryIp:
        return hcloud.PrimaryIp(
            f"{name}-{kind}",
            name=f"{name}-{kind}",
            type=kind,
            location=server.location,
            auto_delete=False,
            delete_protection=self._settings.protection,
            labels=labels,
            opts=pulumi.ResourceOptions(parent=self, protect=self._settings.protection),
        )
