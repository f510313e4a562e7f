"""What is protected and was taken out of the stack file: `pulumi up` would delete what hangs on it before it stops.

With its preview `pulumi up` refuses the whole run; without (`--skip-preview`, as `make infra` has it) it deletes a
zone's record sets, and only then refuses to delete the zone (3.259.0, tried).
"""

from __future__ import annotations

from typing import Any

from bastide.errors import StackError
from bastide.settings import Settings

_KINDS = {
    "hcloud:index/server:Server": "server",
    "hcloud:index/volume:Volume": "volume",
    "hcloud:index/zone:Zone": "zone",
    "minio:index/s3Bucket:S3Bucket": "bucket",
}


def protected_names(deployment: dict[str, Any]) -> list[tuple[str, str]]:
    """The protected servers, volumes, zones and buckets of a state, as ("zone", "example.eu")."""
    found = [item for item in deployment.get("resources") or [] if item.get("protect") and item["type"] in _KINDS]
    return [(_KINDS[item["type"]], str(item["urn"]).rsplit("::", 1)[-1]) for item in found]


def refuse_lost(protected: list[tuple[str, str]], settings: Settings) -> None:
    """Raise `StackError` when something protected is no longer in the stack file."""
    wanted = {
        # a server of somebody else is none that is in the state
        "server": set(settings.made),
        "volume": {f"{name}-volume" for name in settings.volumes},
        "zone": set(settings.dns.zones) if settings.dns else set(),
        "bucket": set(settings.storage.buckets) if settings.storage else set(),
    }
    lost = [f"{kind} {name}" for kind, name in protected if name not in wanted[kind]]
    if lost:
        raise StackError(
            f"{', '.join(lost)}: protected, and no longer in the stack file",
            "put it back; or set protection: false, run `make infra`, and take it out then",
        )
