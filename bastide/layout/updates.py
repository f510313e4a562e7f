"""Upgrades and reboots."""

from __future__ import annotations

LISTS_TIMER, UPGRADE_TIMER = "apt-daily.timer", "apt-daily-upgrade.timer"
"""Debian's own: package lists are fetched, upgrades installed."""
REBOOT_TIMER, ALERT_TIMER = "bastide-reboot.timer", "bastide-updates.timer"
TIMERS = (LISTS_TIMER, UPGRADE_TIMER, REBOOT_TIMER, ALERT_TIMER)
PROGRAM = "/usr/local/lib/bastide/updates.py"
CONFIG = "/etc/bastide/updates.json"
MEMORY = "/var/lib/bastide/updates.json"
"""What the program saw waiting, since when: `packages` by name, `reboot` by kind, and when it `looked`."""
CHECKS = "/etc/bastide/reboot.d"
"""Where capabilities put executables that must all end with 0 before their machine may reboot."""
SOURCES = "/etc/apt/sources.list.d"
TURNS = "/etc/bastide/turn.d"
"""Where capabilities put executables that see to their own services when it is their machine's turn. Each is told one
word: `look` (print which services run an earlier program than the installed one, a line each), `take` (have these run
what is installed), `leave` (hand over what others can do: the machine is about to reboot). Not 0: not now."""
ROLLED = ("etcd", "haproxy", "patroni", "pgbouncer")
"""Services that are restarted by turns alone, never by the package manager; PostgreSQL's server is Patroni's."""
POLICY, NEEDRESTART = "/usr/sbin/policy-rc.d", "/etc/needrestart/conf.d/bastide.conf"
"""Where the package manager (invoke-rc.d(8)) and needrestart(1) are told so."""
