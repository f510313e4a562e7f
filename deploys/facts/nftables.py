"""Tables of nftables."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import nftables as on_machine


class Table(TypedDict):
    """Digests of what the kernel has ("" for no such table) and of what was loaded last; the ports that are let in."""

    live: str
    loaded: str
    ssh_ports: list[int]
    udp_ports: list[int]


TABLES = Fact(on_machine.tables)
"""By name (family inet)."""
