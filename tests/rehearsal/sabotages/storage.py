"""What is kept outside of the servers: the wrong ways. They are done to the buckets, with the stack's own keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.rehearsal.sabotages.model import PRIMARY, Sabotage

Undo = Callable[[], object]


def _policy(client: Any, bucket: str, action: str, resource: str) -> Undo:
    before = client.get_bucket_policy(Bucket=bucket)["Policy"]
    allow = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": [action], "Resource": [resource]}
    document = json.loads(before)
    document["Statement"].append(allow)
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
    return lambda: client.put_bucket_policy(Bucket=bucket, Policy=before)


def _readable(client: Any, bucket: str) -> Undo:
    return _policy(client, bucket, "s3:GetObject", f"arn:aws:s3:::{bucket}/*")


def _listable(client: Any, bucket: str) -> Undo:
    return _policy(client, bucket, "s3:ListBucket", f"arn:aws:s3:::{bucket}")


def _readable_below(client: Any, bucket: str) -> Undo:
    return _policy(client, bucket, "s3:GetObject", f"arn:aws:s3:::{bucket}/other/*")


def _deletable(client: Any, bucket: str) -> Undo:
    return _policy(client, bucket, "s3:DeleteObject", f"arn:aws:s3:::{bucket}/*")


def _lock(days: int) -> Callable[[Any, str], Undo]:
    def change(client: Any, bucket: str) -> Undo:
        before = client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        now: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
        if days:
            now["Rule"] = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": days}}
        client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=now)
        return lambda: client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=before)

    return change


def _forgets(client: Any, bucket: str) -> Undo:
    before = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    rule = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}}
    rules = [{**rule, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}]
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    return lambda: client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": before})


def _on_bucket(
    control: str, what: str, says: str, change: Callable[[Any, str], Undo], *, plain: bool = False
) -> Sabotage:
    return Sabotage(control, what, says, "true", "true", PRIMARY, bucket=change, plain=plain)


SABOTAGES = (
    _on_bucket("storage-01", "everybody may read", "lets strangers read", _readable),
    _on_bucket("storage-01", "everybody may list", "lets strangers list", _listable),
    _on_bucket("storage-01", "everybody may read below other/", "says more than the declared one", _readable_below),
    _on_bucket("storage-01", "everybody may delete", "lets strangers delete", _deletable),
    _on_bucket(
        "storage-01", "everybody may read a bucket without versions", "lets strangers read", _readable, plain=True
    ),
    _on_bucket("storage-02", "no default lock", "the default lock is not", _lock(0)),
    _on_bucket("storage-02", "a lock of one day", "the default lock is not", _lock(1)),
    _on_bucket("storage-03", "a rule that tidies up after a day", "are removed after 1 days", _forgets),
)
