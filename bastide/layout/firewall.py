"""The machine's own firewall."""

from __future__ import annotations

TABLE = "bastide"
"""The nftables table (family inet)."""
RULES = "/etc/bastide/firewall.nft"
UNIT = "bastide-firewall.service"
OTHER_LOADER = "nftables.service"
"""Debian's, which flushes all rules when it starts, stops or reloads: masked."""
