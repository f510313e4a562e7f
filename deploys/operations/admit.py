"""Letting a second ssh port in."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from deploys.facts.machine import ask, forget, this_host

TABLE = "bastide"


@operation()
def admit(port: int) -> Generator[PyinfraCommand | str, None, None]:
    """Open a port for ssh in the host firewall, beside the one in use, until the firewall is loaded again.

    + port: the port that sshd is about to listen on

    Without the firewall's table everything is open, and there is nothing to do.
    """
    host = this_host()
    seen = ask(host, nft=TABLE)["nft"]
    if not seen["live"] or port in seen["ssh_ports"]:
        host.noop(f"port {port} is let in")
        return
    try:
        yield f"nft add element inet {TABLE} ssh_ports '{{ {port} }}'"
    finally:
        forget(host)
