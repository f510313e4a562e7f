"""Where the provider says that a machine stands."""

from __future__ import annotations

from tests.verify.probes.batch import command

METADATA = "http://169.254.169.254/hetzner/v1/metadata"
"""The provider's metadata service (docs.hetzner.cloud, "Server Metadata")."""
METADATA6 = "http://[fe80::a9fe:a9fe%25DEVICE]/hetzner/v1/metadata"
"""The same over IPv6, where cloud-init asks first; DEVICE stands for the interface (RFC 6874)."""

# of a machine's own, or its neighbours could not be told from it
metadata = command(
    "metadata",
    f"curl -s -m 3 {METADATA}/region; echo; curl -s -m 3 {METADATA}/availability-zone",
    shows=f"curl -s -m 3 {METADATA}/{{region,availability-zone}}",
)
