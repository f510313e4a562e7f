"""Accounts and their keys."""

from __future__ import annotations

KEY_DIR = "/etc/ssh/authorized_keys.d"
"""The key file of each account, written by root alone."""
SUDOERS = "/etc/sudoers.d/bastide"
BACKUP = "/var/backups/bastide"
"""What was taken away and may be needed still, for root alone."""
WORD = "[0-9A-Za-z:][0-9A-Za-z.:_-]{0,255}"
"""What a script of the checks may be told (a regular expression, ASCII): no path, no option, nothing for a shell."""
