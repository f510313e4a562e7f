"""A bucket that a stopped `pulumi up` may have made: asked for at the object storage by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bastide.errors import StackError
from bastide.pulumi_config import StackConfig
from bastide.stackfile import read, stack_path
from stacks import buckets


def find_bucket(config: StackConfig, root: Path, resource: dict[str, Any]) -> str:
    """The name of a pending bucket when it exists and is ours, else ""; what is about a bucket is simply put again.

    Raises `StackError` when the storage does not answer or the keys do not open it.
    """
    if resource["type"] != "minio:index/s3Bucket:S3Bucket":
        return ""
    storage, name = read(stack_path(config.stack, root)).storage, str(resource.get("inputs", {}).get("bucket"))
    if storage is None:
        return ""
    # imported when needed, as in buckets.py: `make infra` comes by here each time
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    own = buckets.client(storage.endpoint, storage.location, storage.certificate, config.storage_keys(), root)
    try:
        # names are taken once for all customers of the provider: another's bucket is there as well, but not listed
        return name if name in {item["Name"] for item in own.list_buckets()["Buckets"]} else ""
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"the object storage could not be asked: {error}", "see settings.storage") from None
