"""`settings.storage`: buckets at an object storage in the EU."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Area

# docs.hetzner.com/storage/object-storage/overview: one endpoint a location, <location>.your-objectstorage.com
_HETZNER = ".your-objectstorage.com"
# S3's rules for names, without dots: a wildcard certificate covers one label only
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def _bucket_name(value: str) -> str:
    if not _BUCKET.fullmatch(value):
        raise ValueError("must be 3 to 63 lower-case letters, digits and inner hyphens")
    return value


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be an address like https://fsn1.your-objectstorage.com: storage is asked over TLS only")
    if parts.path.strip("/") or parts.query or parts.username:
        raise ValueError("must be a host alone: the bucket stands under `buckets`, the keys are secrets")
    return value.rstrip("/")


BucketName = Annotated[str, AfterValidator(_bucket_name)]
Days = Annotated[int, Field(ge=1, le=3650)]


class Bucket(Area):
    """One bucket. It is private, and whoever comes without TLS is refused."""

    versioning: bool = True
    """Whether what is overwritten or deleted stays as an older version."""
    lock_days: Days | None = None
    """Days for which no version of an object can be deleted (object lock). Only a new bucket can get a lock."""
    lock_mode: Literal["governance", "compliance"] = "governance"
    """Who may lift the lock: `governance`, whoever has the right to bypass it; `compliance`, nobody at all."""
    expire_old_days: Days | None = None
    """Days after which a version that was overwritten or deleted is removed for good; without it, never."""
    expire_days: Days | None = None
    """Days after which an object is deleted (with versioning: becomes an older version); without it, never."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.lock_days and not self.versioning:
            raise ValueError("lock_days needs versioning: a lock holds versions")
        if self.expire_old_days and not self.versioning:
            raise ValueError("expire_old_days needs versioning: without it there are no older versions")
        if self.lock_days and self.expire_old_days and self.expire_old_days < self.lock_days:
            raise ValueError(f"expire_old_days must be at least lock_days ({self.lock_days}): locked versions stay")
        return self


class Storage(Area):
    """An object storage that speaks S3, and the buckets in it."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    """Where it answers. For a stack in the local cloud it is written here when that is up."""
    location: Literal["fsn1", "nbg1", "hel1"]
    """The provider's location: fsn1, nbg1 (Germany) or hel1 (Finland)."""
    certificate: str | None = None
    """File with the certificate to trust when no public authority vouches for it; relative to the project."""
    buckets: Annotated[dict[BucketName, Bucket], Field(min_length=1)]
    """The buckets by name. At the provider a name is taken once for all its customers: put your own in front."""

    @property
    def host(self) -> str:
        """Host and port, as clients want it that are told about TLS apart."""
        return urlsplit(self.endpoint).netloc

    @model_validator(mode="after")
    def _same_place(self) -> Self:
        if self.host.endswith(_HETZNER) and self.host != f"{self.location}{_HETZNER}":
            raise ValueError(f"endpoint and location must be the same place (got {self.host} and {self.location})")
        return self
