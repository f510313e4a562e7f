"""The ssh server."""

from __future__ import annotations

from collections.abc import Iterator

from bastide.layout.model import Listener
from bastide.settings import Settings

CONFIG = "/etc/ssh/sshd_config.d/00-bastide.conf"
MAIN = "/etc/ssh/sshd_config"
"""Debian's file, which includes the other before anything else."""
SAID_TWICE = (
    *("PermitRootLogin", "PermitEmptyPasswords", "PermitUserEnvironment", "HostbasedAuthentication", "IgnoreRhosts"),
    *("UsePAM", "Banner", "LoginGraceTime", "MaxAuthTries", "MaxSessions", "MaxStartups", "LogLevel"),
    *("ClientAliveInterval", "ClientAliveCountMax", "Ciphers", "KexAlgorithms", "MACs"),
)
"""Keywords that both say, each of which has one value: should the first be lost, they still hold."""
EXPECTED = "/etc/bastide/sshd.expected"
"""What `sshd -T` must say, a line a keyword."""
UNIT, SOCKET = "ssh.service", "ssh.socket"


def listeners(settings: Settings, machine: str) -> Iterator[Listener]:
    """sshd, or systemd for it, where ssh is activated by a socket."""
    yield Listener(settings.ssh.port, "tcp", (UNIT, SOCKET, "init.scope"), "ssh", "choose another ssh.port")
