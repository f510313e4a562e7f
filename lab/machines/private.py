"""Private networks, layer 3 as at Hetzner: each machine has a /32 and reaches all others through the gateway.

One namespace for each network, so that overlapping ranges never meet, with dnsmasq to hand out the addresses. No
cloud firewall in here: Hetzner's does not filter private networks either.
"""

from __future__ import annotations

import contextlib
import os
import signal
from ipaddress import IPv4Network
from pathlib import Path

from lab.machines import delay, links, trouble
from lab.machines.cgroups import open_tree
from lab.machines.firewall import TABLE
from lab.machines.spawn import spawn
from lab.machines.store import Plug, Record, records
from lab.place import Place
from lab.registry import locked

# docs.hetzner.com, "Networks": the MTU of a private interface
MTU = 1450
_SYSCTLS = {
    "ipv4.ip_forward": 1,
    "ipv4.conf.all.rp_filter": 1,
    "ipv4.conf.default.rp_filter": 1,
    "ipv4.conf.all.send_redirects": 0,
    "ipv4.conf.default.send_redirects": 0,
    "ipv6.conf.default.disable_ipv6": 1,
}


def gateway(network_range: str) -> str:
    """The first address of the whole network."""
    return str(IPv4Network(network_range)[1])


def plug(record: Record, card: Plug) -> None:
    """Plug a running machine into the network; it configures itself by DHCP."""
    netns = record.place.network_netns(card.nic.network_id)
    with _lock(record.place, card.nic.network_id):
        _ensure(record.place, card.nic.network_id, card.nic.network_range)
        port = f"p{record.id}"
        links.link_delete(port, netns)
        lines = [
            f"link add {port} mtu {MTU} type veth peer name {card.interface} mtu {MTU} "
            f"netns {record.netns} address {card.nic.mac}",
            f"address add {gateway(card.nic.network_range)}/32 dev {port}",
            f"link set {port} up",
        ]
        lines += [f"route replace {address}/32 dev {port}" for address in (card.nic.address, *card.nic.alias_addresses)]
        links.ip(lines, netns)


def unplug(record: Record, network_id: int) -> None:
    """Pull the cable; the lease goes, too."""
    links.link_delete(f"p{record.id}", record.place.network_netns(network_id))


def refresh(here: Place, network_id: int) -> None:
    """Bring the leases in line with who is attached.

    By a new server: dnsmasq keeps a lease in memory over SIGHUP, so that an address whose machine is gone would never
    be given to its successor, which has another MAC.
    """
    with _lock(here, network_id):
        tree = open_tree(here.cgroup)
        tree.kill(f"net/n{network_id}")
        ranges = {
            card.nic.network_range
            for record in records(here)
            for card in record.plugs()
            if card.nic.network_id == network_id
        }
        for network_range in ranges:
            _ensure(here, network_id, network_range)


def load_rules(here: Place, network_id: int) -> None:
    """Bring the network's rules in line with the lab's troubles: it has no others. Atomic."""
    ends = {
        record.spec().name: trouble.End(f"p{record.id}", (card.nic.address, *card.nic.alias_addresses))
        for record in records(here)
        for card in record.plugs()
        if card.nic.network_id == network_id
    }
    links.nft(network_rules(trouble.rules(here, ends)), here.network_netns(network_id))


def reload(here: Place, network_id: int) -> None:
    """The same for a network that may be about to come or go."""
    with _lock(here, network_id):
        if links.netns_exists(here.network_netns(network_id)):
            load_rules(here, network_id)


def network_rules(troubles: trouble.Rules) -> str:
    """The rule file of a private network."""
    lines = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        *troubles.chains(),
    ]
    for hook in ("forward", "input", "output"):
        lines += [f"chain {hook} {{", f"type filter hook {hook} priority filter; policy accept;", "jump cut", "}"]
    return "\n".join([*lines, "}"]) + "\n"


def network_ids(here: Place) -> list[int]:
    """The networks that have a machine in them."""
    return sorted({card.nic.network_id for record in records(here) for card in record.plugs()})


def delete(here: Place, network_id: int) -> None:
    """Remove the network with its DHCP server. No error when it does not exist."""
    with _lock(here, network_id):
        tree = open_tree(here.cgroup)
        tree.kill(f"net/n{network_id}")
        tree.remove(f"net/n{network_id}")
        links.netns_delete(here.network_netns(network_id))
        _leases(here, network_id).unlink(missing_ok=True)
    if trouble.delays(here):
        # its devices would keep the namespace alive, without a name
        delay.restart(here)
    _lock_file(here, network_id).unlink(missing_ok=True)


def _ensure(here: Place, network_id: int, network_range: str) -> None:
    netns = here.network_netns(network_id)
    is_new = not links.netns_exists(netns)
    if is_new:
        links.netns_make(netns, _SYSCTLS)
    load_rules(here, network_id)
    if is_new and trouble.delays(here):
        delay.restart(here)
    _write_leases(here, network_id)
    tree = open_tree(here.cgroup)
    group = f"net/n{network_id}"
    if tree.populated(group):
        for pid in tree.pids(group):
            os.kill(pid, signal.SIGHUP)
        return
    tree.make_fresh(group)
    network, first = IPv4Network(network_range), gateway(network_range)
    spawn(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="),
            *("--port=0", "--no-ping", "--dhcp-authoritative", "--dhcp-rapid-commit", "--leasefile-ro"),
            f"--dhcp-range={network.network_address},static,{network.netmask},infinite",
            f"--dhcp-hostsfile={_leases(here, network_id)}",
            # a /32, the way to the gateway first, then the whole network through it (RFC 3442); no router, no resolver
            "--dhcp-option=option:netmask,255.255.255.255",
            f"--dhcp-option=option:classless-static-route,{first}/32,0.0.0.0,{network},{first}",
            *("--dhcp-option=option:router", "--dhcp-option=option:dns-server", f"--dhcp-option=option:mtu,{MTU}"),
        ],
        procs=tree.procs(group),
        log=here.folder / f"network-{network_id}.log",
        netns=netns,
    )


def _write_leases(here: Place, network_id: int) -> None:
    lines = [
        f"{card.nic.mac},{card.nic.address},infinite"
        for record in records(here)
        for card in record.plugs()
        if card.nic.network_id == network_id
    ]
    _leases(here, network_id).write_text("".join(f"{line}\n" for line in lines))


def _leases(here: Place, network_id: int) -> Path:
    return here.folder / f"network-{network_id}.leases"


def _lock_file(here: Place, network_id: int) -> Path:
    return here.folder / f".network-{network_id}.lock"


def _lock(here: Place, network_id: int) -> contextlib.AbstractContextManager[None]:
    return locked(_lock_file(here, network_id))
