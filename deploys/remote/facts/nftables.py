"""Runs on the machine: tables of nftables, as the kernel has them."""

from __future__ import annotations

import hashlib
import re

from deploys.remote.facts.common import STATE, output, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.nftables import Table


def tables(names: list[str]) -> dict[str, Table]:
    """Each table (family inet): its digest, the record of what was loaded last, and what ports it opens."""
    return {name: _table(name) for name in names}


def _table(name: str) -> Table:
    listed = output("nft", "-s", "list", "table", "inet", name)
    elements = listed.partition("set ssh_ports {")[2].partition("elements = {")[2].partition("}")[0]
    return {
        "live": hashlib.sha256(listed.encode()).hexdigest() if listed else "",
        "loaded": read(f"{STATE}/{name}.loaded").strip(),
        "ssh_ports": [int(word) for word in elements.replace(",", " ").split()],
        "udp_ports": [int(port) for port in re.findall(r"^\s*udp dport ([0-9]+) accept", listed, re.MULTILINE)],
    }
