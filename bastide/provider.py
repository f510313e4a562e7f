"""How a stack's configuration opens the provider's API, and who holds the stack's state."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

UPSTREAM_ENDPOINT = "https://api.hetzner.cloud/v1"


@dataclass(frozen=True)
class Access:
    """Where the provider's API answers and what opens it; `token` is "" when there is none."""

    endpoint: str
    token: str = field(repr=False)


def access_in(config: Mapping[str, str], *, dns: bool = False) -> Access:
    """The access that an opened configuration gives, by key in plain; for `dns` with the token of the zones' project,
    where they have one of their own."""
    token = config.get("hcloud:token") or os.environ.get("HCLOUD_TOKEN", "")
    if dns:
        secrets = json.loads(config.get("bastide:secrets") or "{}")
        token = (secrets.get("dns") or {}).get("token") or token
    return Access(config.get("hcloud:endpoint") or UPSTREAM_ENDPOINT, token)


def state_locks(stack: str) -> list[Path] | None:
    """The lock files of a stack's state; None for a backend that is no folder and cannot be asked without Pulumi."""
    backend = urlparse(os.environ.get("PULUMI_BACKEND_URL", ""))
    if backend.scheme != "file":
        return None
    return sorted(Path(unquote(backend.path)).glob(f".pulumi/locks/organization/bastide/{stack}/*.json"))
