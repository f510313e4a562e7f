"""What opens the provider's API, and who holds a stack's state."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

UPSTREAM_ENDPOINT = "https://api.hetzner.cloud/v1"


@dataclass(frozen=True)
class Access:
    """Where the provider's API answers and what opens it; `token` is "" when there is none."""

    endpoint: str
    token: str = field(repr=False)


def state_locks(stack: str) -> list[Path] | None:
    """The lock files of a stack's state; None for a backend that is no folder and cannot be asked without Pulumi."""
    backend = urlparse(os.environ.get("PULUMI_BACKEND_URL", ""))
    if backend.scheme != "file":
        return None
    return sorted(Path(unquote(backend.path)).glob(f".pulumi/locks/organization/bastide/{stack}/*.json"))
