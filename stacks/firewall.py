"""The provider's firewall: the outer of two walls. It does not filter the private network; the machines' own does."""

from __future__ import annotations

import pulumi
import pulumi_hcloud as hcloud

from bastide.settings import Settings

ANYWHERE = ("0.0.0.0/0", "::/0")
IMAGE_SSH_PORT = 22


class CloudFirewall(pulumi.ComponentResource):
    """One firewall for all servers. It is given when a server is created, so that no first packet comes before it."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bastide:index:CloudFirewall", name, None, opts)
        self.firewall = hcloud.Firewall(
            f"{name}-firewall",
            name="bastide",
            rules=firewall_rules(settings),
            labels={"bastide": pulumi.get_stack()},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"firewall_id": self.firewall.id})


def firewall_rules(settings: Settings) -> list[hcloud.FirewallRuleArgs]:
    """What may come in: ping from anywhere, ssh from where the settings say, and the public ports."""
    ssh_from = ANYWHERE if settings.ssh.open_to == "anywhere" else settings.firewall.operators
    return [
        hcloud.FirewallRuleArgs(direction="in", protocol="icmp", source_ips=list(ANYWHERE), description="ping"),
        _port("tcp", settings.ssh.port, ssh_from, "ssh"),
        *_image_port(settings),
        *(_port(item.protocol, item.port, ANYWHERE, item.reason) for item in settings.firewall.public),
    ]


def _image_port(settings: Settings) -> list[hcloud.FirewallRuleArgs]:
    """A new server's ssh listens on 22 until its first deploy moves it; its own firewall closes 22 then."""
    if settings.ssh.port == IMAGE_SSH_PORT:
        return []
    return [_port("tcp", IMAGE_SSH_PORT, settings.firewall.operators, "ssh of a new server")]


def _port(protocol: str, port: int, sources: tuple[str, ...], reason: str) -> hcloud.FirewallRuleArgs:
    return hcloud.FirewallRuleArgs(
        direction="in", protocol=protocol, port=str(port), source_ips=list(sources), description=reason
    )
