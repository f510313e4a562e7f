"""Where the state lives when it lives in a bucket: how that bucket comes to be, and copies of the state beside it.

The bucket is made here and not by the stack: a stack's state must lie somewhere before there is a stack, and no
`pulumi destroy` may ever reach it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from bastide.console import run, say
from bastide.errors import StackError
from bastide.files import write_whole
from bastide.secrets import StorageKeys
from stacks import buckets

# every `pulumi up` writes the state anew; what it was stays readable for so long
KEEP_DAYS = 90
# where the engine's backend keeps all that it writes
_ENGINE = ".pulumi/"


def make_state_bucket(bucket: str, endpoint: str, location: str) -> str:
    """Make a private, versioned bucket for states, or complete one that is ours already. Returns PULUMI_BACKEND_URL.

    The keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a certificate to trust from AWS_CA_BUNDLE: the
    engine takes them from there too. Raises `StackError` when they are missing, the bucket holds other things than
    states (its policy and its rules would be overwritten), or the storage refuses.
    """
    access, secret = (os.environ.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    if not access or not secret:
        raise StackError(
            "there are no keys for the object storage",
            "make a pair in the provider's console and export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    # imported when needed, as in buckets.py: every verb of `python -m stacks` comes by here
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    own = buckets.client(endpoint, location, os.environ.get("AWS_CA_BUNDLE"), StorageKeys(access, SecretStr(secret)))
    try:
        # making one's own bucket a second time is an error or none, as the server likes: so it is looked for
        if bucket not in {item["Name"] for item in own.list_buckets()["Buckets"]}:
            own.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": location})
        elif others := _others(own, bucket):
            raise StackError(
                f"the bucket {bucket} holds other things than states ({others[0]}): it is left as it is",
                "choose another name: a bucket for states holds nothing else",
            )
        own.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        own.put_bucket_policy(Bucket=bucket, Policy=buckets.tls_only(bucket))
        old = {"NoncurrentVersionExpiration": {"NoncurrentDays": KEEP_DAYS}}
        rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, **old}
        own.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    except (BotoCoreError, ClientError) as error:
        raise StackError(
            f"the bucket {bucket} could not be made: {error}",
            "a name is taken once for all customers of the provider: choose another, or look at the keys",
        ) from None
    query = urlencode({"endpoint": urlsplit(endpoint).netloc, "region": location, "s3ForcePathStyle": "true"})
    return f"s3://{bucket}?{query}"


def _others(own: Any, bucket: str) -> list[str]:  # noqa: ANN401 - boto3's own class
    """What stands in a bucket beside the engine's folder, as far as the top level tells; older versions count, too."""
    found = own.list_object_versions(Bucket=bucket, Delimiter="/")
    keys = [item["Key"] for kind in ("Versions", "DeleteMarkers") for item in found.get(kind, [])]
    return [name for name in (*(item["Prefix"] for item in found.get("CommonPrefixes", [])), *keys) if name != _ENGINE]


def backup(stack: str, root: Path, target: Path) -> None:
    """Write the state to `target` (0600). Secrets in it stay encrypted: it is worth as much as the passphrase.

    Raises `StackError` when there is nothing to keep; `CommandFailed` when pulumi refuses.
    """
    text = run(["pulumi", "stack", "export", "--stack", stack], cwd=root).stdout
    deployment = json.loads(text).get("deployment") or {}
    resources = deployment.get("resources") or []
    if not resources:
        raise StackError(f"the state of stack {stack} is empty", "is PULUMI_BACKEND_URL the right one?")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, text, mode=0o600)
    say(f"{target}: the state of stack {stack} ({len(resources)} resources), secrets encrypted")
    say(f"to go back to it: pulumi stack import --stack {stack} --file {target}, then pulumi refresh")
