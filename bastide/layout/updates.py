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
