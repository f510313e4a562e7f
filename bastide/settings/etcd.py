"""`settings.etcd`: the voters that decide which Postgres leads. It runs on every machine of a stack with Postgres."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bastide.settings.common import Area


class Etcd(Area):
    """etcd 3.5, one voter a machine: the sites' and the witness's."""

    volume_gb: Annotated[int, Field(ge=10, le=100)] | None = 10
    """Gigabytes of the volume that keeps a voter alive when Postgres fills the disk; null for none."""
    snapshot_days: Annotated[int, Field(ge=1, le=366)] = 14
    """Days for which each machine keeps the snapshot that it takes every day."""
