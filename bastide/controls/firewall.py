"""What can be reached."""

from __future__ import annotations

from bastide.controls.model import Control, join
from bastide.machines import Inventory
from bastide.open_ports import open_ports
from bastide.settings import Settings

_SSH_OPEN = {
    "operators": "the operators' networks only",
    "anywhere": "any address",
    "vpn": "nobody: administrators come over the mesh",
}
CONTROLS = (
    Control(
        "firewall-01",
        "Open ports over IPv4",
        "Seen from the internet over IPv4, {ports}; ssh is open to {ssh_open}.",
        "What cannot be reached cannot be attacked. The servers' own rules, and the provider's where its API was "
        "asked, are judged by all addresses that they cover; a scan sees one.",
        claims=(15, 17),
    ),
    Control(
        "firewall-02",
        "Open ports over IPv6",
        "Seen from the internet over IPv6, {ports}; ssh is open to {ssh_open}.",
        "IPv6 is a second door that is easy to forget. Judged as over IPv4.",
        claims=(15, 17),
    ),
    Control(
        "firewall-03",
        "Each server's own firewall",
        "Each server also has a firewall of its own that refuses what is not named, for its neighbours too.",
        "The provider's firewall does not filter the private network; a break-in on one server must not open the next. "
        "Each server knocks at each other one, over TCP and UDP, IPv4 and IPv6.",
        claims=(15, 17),
    ),
    Control(
        "firewall-04",
        "Metadata service",
        "The provider's metadata service answers root only; a service account on the server gets no answer.",
        "That service tells any program that asks what the server was set up with; what it told is kept for root only. "
        "A program of root's that hands its answers on is not looked for.",
        claims=(15,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    names = [f"{port}/{protocol}" for port, protocol in sorted((port, kind) for kind, port in open_ports(settings))]
    return {
        "ports": f"only {join(names)} can be reached" if names else "no port can be reached",
        "ssh_open": _SSH_OPEN[settings.ssh.open_to],
    }
