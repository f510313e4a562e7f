"""Accounts and their keys."""

from __future__ import annotations

KEY_DIR = "/etc/ssh/authorized_keys.d"
"""The key file of each account, written by root alone."""
SUDOERS = "/etc/sudoers.d/bastide"
BACKUP = "/var/backups/bastide"
"""What was taken away and may be needed still, for root alone."""
GATE = "/usr/local/lib/bastide/checks"
"""All that the account of the checks may run as root: a program that runs listed scripts."""
LISTED = "/etc/bastide/checks"
"""Their names, by the SHA-256 of their texts."""
CHECKS_COMMENT = "Bastide (checks)"
"""What /etc/passwd says of that account, whatever its name is: by this it is known when it is not declared any more."""
WORD = "[0-9A-Za-z:][0-9A-Za-z.:_-]{0,255}"
"""What a script of the checks may be told (a regular expression, ASCII): no path, no option, nothing for a shell."""
