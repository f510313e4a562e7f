"""`settings.etcd`: the voters that decide which Postgres leads. Nothing without settings.postgres."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bastide.settings.common import Area, Name


class Etcd(Area):
    """etcd 3.5: whoever has most votes decides, and only while most voters reach each other."""

    voters: tuple[Name, ...] = ()
    """Servers that vote, an odd number; by itself the primary, a standby in another country and the witness."""
    volume_gb: Annotated[int, Field(ge=10, le=100)] | None = 10
    """Gigabytes of each server's volume, which keeps a voter alive when Postgres fills the disk; null for none."""
    snapshot_days: Annotated[int, Field(ge=1, le=366)] = 14
    """Days for which each machine keeps the snapshot that it takes every day."""
