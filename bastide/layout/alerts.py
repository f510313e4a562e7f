"""What tells people."""

from __future__ import annotations

from collections.abc import Iterator

from bastide.layout.model import Listener, OpenPort
from bastide.settings import Settings

PORT = 7070
"""Where each machine shows its findings to the others; in the mesh only."""
ACCOUNT = "bastide-alerts"
"""Owns nothing but its memory, and may read the journal."""
UNIT = "bastide-alerts.service"
TEST_UNIT = "bastide-alert-test.service"
"""Runs once for `make alert-test`."""
CLUSTER_SOCKET = "bastide-alerts-cluster.socket"
CLUSTER_UNIT = "bastide-alerts-cluster@.service"
"""On a site, where Patroni answers few accounts: whoever connects as the alerts' account is told how the cluster is."""
CLUSTER_PATH = "/run/bastide-alerts-cluster.sock"
PROGRAM = "/usr/local/lib/bastide/alerts"
"""A folder that Python runs: `__main__.py`, and the package beside it."""
CONFIG = "/etc/bastide/alerts.json"
FOLDER = "/etc/bastide/alerts"
"""Password, URLs, and a certificate to trust: root's; the program gets the secrets from systemd (LoadCredential=)."""
MEMORY = "/var/lib/bastide-alerts/memory.json"
"""What was told when, how the last call of each way went, and when the last round was over."""


def open_ports(settings: Settings) -> Iterator[OpenPort]:
    """For the other machines, in the mesh."""
    if _shown(settings):
        yield OpenPort("alerts", PORT, "tcp", "mesh", "findings for the other machines")


def listeners(settings: Settings, machine: str) -> Iterator[Listener]:
    """Where findings are shown."""
    if _shown(settings):
        yield Listener(PORT, "tcp", (UNIT,), "alerts")


def _shown(settings: Settings) -> bool:
    return bool(settings.alerts and settings.wireguard and len(settings.servers) > 1)
