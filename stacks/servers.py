"""The servers, and their addresses, which outlive them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_hcloud as hcloud

from bastide.secrets import Keyring
from bastide.settings import AnyServer, ExistingServer, Server, Settings
from stacks.cloud_init import user_data
from stacks.firewall import CloudFirewall
from stacks.network import PrivateNetwork

# A server is replaced by a person's decision (a raised generation and `pulumi up --replace`), never because a newer
# image came out, a key was added or this program writes its user_data in another way.
NEVER_REPLACED_BY = ("image", "sshKeys", "userData", "location")
# For each of these the provider pulls the plug of a server that runs, of all at once whose property was edited, and
# leaves it off when the change is refused (terraform-provider-hcloud 1.68, internal/server/resource.go). A type is
# changed by `make resize`, one server at a time; the others by nobody, so far.
NEVER_CUT_OFF_BY = ("serverType", "publicNets", "placementGroupId", "iso", "rescue")


@dataclass(frozen=True)
class MadeServer:
    """A server with its two primary addresses."""

    server: hcloud.Server
    ipv4: hcloud.PrimaryIp
    ipv6: hcloud.PrimaryIp

    @property
    def address6(self) -> pulumi.Output[str]:
        """The server's own IPv6 address: a primary IPv6 is a /64, and the provider's images take its first address."""
        return self.ipv6.ip_address.apply(first_address)


class Servers(pulumi.ComponentResource):
    """Every server that is made here, with firewall, private address and both primary IPs from the first moment.

    Servers that somebody else made are not touched; `addresses` has theirs too.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        keyring: pulumi.Output[Keyring],
        network: PrivateNetwork | None,
        firewall: CloudFirewall | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bastide:index:Servers", name, None, opts)
        self._settings = settings
        self.made: dict[str, MadeServer] = {}
        # a stack of existing servers alone needs nothing of the provider's, and no token
        if network and firewall:
            key = self._ssh_key()
            self.made = {
                server_name: self._make(server_name, server, keyring, network, firewall, key)
                for server_name, server in settings.made.items()
            }
        self.addresses = {
            server_name: self._addresses(server_name, server) for server_name, server in settings.servers.items()
        }
        """The public addresses (v4, v6) of every server by name; the second is "" where there is none."""
        self.register_outputs({"server_ids": {key: made.server.id for key, made in self.made.items()}})

    def _addresses(self, name: str, server: AnyServer) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        if isinstance(server, ExistingServer):
            return pulumi.Output.from_input(server.address), pulumi.Output.from_input(server.address6 or "")
        made = self.made[name]
        return made.ipv4.ip_address, made.address6

    def _ssh_key(self) -> hcloud.SshKey:
        """A key at creation keeps the provider from mailing a root password; root cannot log in with it."""
        return hcloud.SshKey(
            "automation-key",
            name="bastide",
            public_key=self._settings.users.automation.key,
            labels={"bastide": pulumi.get_stack()},
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _make(
        self,
        name: str,
        server: Server,
        keyring: pulumi.Output[Keyring],
        network: PrivateNetwork,
        firewall: CloudFirewall,
        key: hcloud.SshKey,
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
            ssh_keys=[key.id],
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
            keep_disk=True,
            # what is deleted is told before: Postgres and etcd end in order
            shutdown_before_deletion=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=settings.protection,
                ignore_changes=[*NEVER_REPLACED_BY, *NEVER_CUT_OFF_BY],
            ),
        )
        made.server_type.apply(lambda now: _warn_of_type(name, now, server.type))
        made.location.apply(lambda now: _warn_of_location(name, now, server.location))
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
            # an address cannot move, and a new one of the same name cannot be made beside it
            opts=pulumi.ResourceOptions(parent=self, protect=self._settings.protection, ignore_changes=["location"]),
        )


def _warn_of_type(name: str, now: str, wanted: str) -> None:
    if now != wanted:
        pulumi.warn(
            f"{name} is a {now}, the stack file says {wanted}: `pulumi up` changes no server's type, since that cuts "
            f"its power; next: make resize machine={name} stack={pulumi.get_stack()}"
        )


def _warn_of_location(name: str, now: str, wanted: str) -> None:
    if now != wanted:
        pulumi.warn(
            f"{name} stands in {now}, the stack file says {wanted}: no server is moved by an edit; "
            "next: put it back, or see docs/how-to/lose-a-server.md"
        )


def first_address(network: str) -> str:
    """The server's own address in its /64: "2001:db8:1::" or "2001:db8:1::/64" gives "2001:db8:1::1"."""
    return network.split("/")[0].removesuffix("::") + "::1"
