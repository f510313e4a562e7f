"""Bans."""

from __future__ import annotations

UNIT = "fail2ban.service"
DATABASE = "/var/lib/fail2ban/fail2ban.sqlite3"
TABLE = "f2b-table"
"""The nftables table of bans (family inet)."""
SOCKET = "/run/fail2ban/fail2ban.sock"
