"""Letting a port in before the firewall is loaded with it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from bastide.layout.firewall import TABLE
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.nftables import TABLES


@operation()
def admit(port: int, protocol: Literal["tcp", "udp"] = "tcp") -> Generator[PyinfraCommand | str, None, None]:
    """Open a port in the host firewall, until that is loaded again: what opens it may need it before.

    + port: for tcp the port that sshd is about to listen on, beside the one in use; for udp one that is open to all
    + protocol: tcp or udp

    Without the firewall's table everything is open, and there is nothing to do.
    """
    host = this_host()
    table = ask(host, TABLES.request([TABLE]))[TABLES][TABLE]
    if not table["live"] or port in (table["ssh_ports"] if protocol == "tcp" else table["udp_ports"]):
        host.noop(f"port {port} is let in")
        return
    try:
        if protocol == "tcp":
            yield f"nft add element inet {TABLE} ssh_ports '{{ {port} }}'"
        else:
            yield f"nft insert rule inet {TABLE} input udp dport {port} accept"
    finally:
        forget(host)
