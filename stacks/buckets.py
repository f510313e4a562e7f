"""What is common to all that deals with buckets: the S3 client of our own, and the policy that every bucket has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bastide.secrets import StorageKeys

_CONNECT_SECONDS = 10
_READ_SECONDS = 60


def client(endpoint: str, location: str, certificate: str | None, keys: StorageKeys | None, root: Path = Path()) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes at run time
    """A client for the storage at `endpoint`; without keys it comes as a stranger.

    `certificate` is the path of a certificate to trust, relative to `root`. Nothing is taken from the environment or
    from a user's AWS files: other keys than those of the stack must never be tried.
    """
    # imported when needed: a third of a second, and a `pulumi up` that changes nothing asks no bucket
    import boto3  # type: ignore[import-untyped]
    from botocore import UNSIGNED  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    config = Config(
        region_name=location,
        signature_version="s3v4" if keys else UNSIGNED,
        # the bucket in the path: the name needs no entry in DNS and no certificate of its own
        s3={"addressing_style": "path"},
        # boto3's newer checksums in trailers are Amazon's own; they stay off where S3 does not ask for them
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 4},
    )
    session = boto3.session.Session(
        aws_access_key_id=keys.access if keys else None,
        aws_secret_access_key=keys.secret.get_secret_value() if keys else None,
        region_name=location,
    )
    verify = str(root / certificate) if certificate else True
    return session.client("s3", endpoint_url=endpoint, verify=verify, config=config)


def tls_only(bucket: str) -> str:
    """The policy: nobody without TLS. It allows nothing, so strangers have no right at all."""
    arn = f"arn:aws:s3:::{bucket}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:*"],
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
