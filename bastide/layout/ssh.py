"""The ssh server."""

from __future__ import annotations

CONFIG = "/etc/ssh/sshd_config.d/00-bastide.conf"
EXPECTED = "/etc/bastide/sshd.expected"
"""What `sshd -T` must say, a line a keyword."""
UNIT, SOCKET = "ssh.service", "ssh.socket"
