"""DNS of a lab: dnsmasq in the router, at the addresses of Hetzner's resolvers.

It knows the package mirrors and asks the lab's own name server for all else, where every other name does not exist
(NXDOMAIN): no query leaves the lab. It keeps no answers: what is published is seen at once.
"""

from __future__ import annotations

from lab.machines.cgroups import open_tree
from lab.machines.recipe import RESOLVERS
from lab.machines.router import proxied
from lab.machines.spawn import spawn
from lab.place import Place
from lab.services import name_server

_GROUP = "net/dns"


def start(here: Place) -> None:
    """Start it, anew when it runs."""
    tree = open_tree(here.cgroup)
    tree.kill(_GROUP)
    tree.make_fresh(_GROUP)
    spawn(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="),
            *("--no-resolv", "--no-hosts", "--bind-interfaces"),
            *(f"--listen-address={address}" for address in RESOLVERS),
            *(f"--address=/{host}/{address}" for address, _, host in proxied(here) if host != address),
            *("--cache-size=0", f"--server={name_server.SERVICE.address(here)}"),
        ],
        procs=tree.procs(_GROUP),
        log=here.folder / "dns.log",
        netns=here.router,
    )


def running(here: Place) -> bool:
    """Does it run?"""
    return open_tree(here.cgroup, make=False).populated(_GROUP)
