"""Values that stand in the example and in guides, and can be nobody's own: a stack outside of the lab has none of them.

Whoever copies the example and overlooks one would open a server to a key that is published, or ask for the zone of
somebody else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

# RFC 2606, RFC 6761 and, beside them, the example's own domain
_DOMAIN = re.compile(
    r"(?:^|[.@/:\s])example\.(?:com|net|org|edu|eu)\.?(?:$|[/:\s])|\.(?:example|test|invalid)\.?$", re.IGNORECASE
)
# RFC 5737, RFC 3849 and RFC 9637: for documentation only
_NETWORKS = tuple(
    ipaddress.ip_network(word)
    for word in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)
# the public keys of stacks/Pulumi.example.yaml: nobody has their other halves, or everybody
KEYS = frozenset(
    {
        "AAAAC3NzaC1lZDI1NTE5AAAAIORS8Ni+k81A5+zX2kfnx+CtclOJClLDL3V1t1L26xlJ",
        "AAAAC3NzaC1lZDI1NTE5AAAAIG540gUHism/JgBPUdTQKEPUH1ECuHCbgcCLRpL7O5vs",
        "AAAAC3NzaC1lZDI1NTE5AAAAIB1Y6f6UQ9Zzcy1PPqkE4arIS9AqJp+z/aZDrDlC0nJX",
        "AAAAC3NzaC1lZDI1NTE5AAAAIG1z2p4ENQLuBhDKyVSTCYqgTJv2nTqmY2VXsQ8n7CZY",
        "AAAAC3NzaC1lZDI1NTE5AAAAIJyc/3X1YfISe8rdfYu6hHUaptbN500EWuVAieYWQhfw",
        "53lkLkQpddyGE82a1cXkqY2YHn1xBSOaKYx5bqIiCFo=",
    }
)
NAMES = frozenset({"Example Works", "example-backup"})
CHANGE = "CHANGE-ME"
"""What `python -m stacks init NAME` writes where only the user knows the value."""


def placeholders(value: Any, place: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - settings as plain data
    """Every such value in parsed settings: its path ("users.people.anna.keys.0") and the value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            below = f"{place}.{key}".lstrip(".")
            if _is_one(str(key)):
                yield below, str(key)
            yield from placeholders(item, below)
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from placeholders(item, f"{place}.{number}")
    elif isinstance(value, str) and _is_one(value):
        yield place, value


def _is_one(text: str) -> bool:
    if text in NAMES or CHANGE in text or _DOMAIN.search(text) or KEYS & set(text.split()):
        return True
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return any(network.version == one.version and network.subnet_of(one) for one in _NETWORKS)  # type: ignore[arg-type]
