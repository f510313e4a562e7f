"""The provider's firewall: the outer of two walls. It does not filter the private network; the machines' own does."""

from __future__ import annotations

import pulumi
import pulumi_hcloud as hcloud

from bastide.open_ports import opened
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
    """What may come in: ping from anywhere, ssh from where the settings say, and the ports open to everybody.

    Ports of the mesh are not among them: its traffic comes in through the one port of WireGuard.
    """
    by_capabilities = (one for one in opened(settings) if one.reach == "anywhere")
    return [
        hcloud.FirewallRuleArgs(direction="in", protocol="icmp", source_ips=list(ANYWHERE), description="ping"),
        *_ssh(settings),
        *(_port(item.protocol, item.port, ANYWHERE, item.reason) for item in settings.firewall.public),
        *(_port(one.protocol, one.port, ANYWHERE, one.reason) for one in by_capabilities),
    ]


def _ssh(settings: Settings) -> list[hcloud.FirewallRuleArgs]:
    """The port of ssh, and that of a new server's: it listens on 22 until its first deploy moves it.

    22 stays open to operators here whatever the settings say, or no new server could be reached: not even one that
    shall only be reached over the mesh, which it joins with its first deploy. Each server's own firewall closes it.
    """
    sources = {"anywhere": ANYWHERE, "operators": settings.firewall.operators, "vpn": ()}[settings.ssh.open_to]
    rules = [_port("tcp", settings.ssh.port, sources, "ssh")] if sources else []
    if settings.ssh.port != IMAGE_SSH_PORT or not sources:
        rules.append(_port("tcp", IMAGE_SSH_PORT, settings.firewall.operators, "ssh of a new server"))
    return rules


def _port(protocol: str, port: int, sources: tuple[str, ...], reason: str) -> hcloud.FirewallRuleArgs:
    return hcloud.FirewallRuleArgs(
        direction="in", protocol=protocol, port=str(port), source_ips=list(sources), description=reason
    )
