"""The default retention of a bucket with object lock, which the MinIO plugin has no resource for.

A provider of our own in Python. The engine writes a provider (pickled) and its inputs into the state, so neither holds
a key: the keys are read from the stack's configuration when the provider is at work (`configure`).
"""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from bastide.secrets import StorageKeys, storage_keys_from
from bastide.settings import Bucket, Storage
from stacks import buckets

_FIXED = ("bucket", "endpoint")
_FREE = ("mode", "days", "location", "certificate")
Props = dict[str, Any]


class ObjectLockProvider(ResourceProvider):
    """Puts, reads and takes away the one rule of a bucket's object lock (S3: Put- and GetObjectLockConfiguration)."""

    # nothing in it is secret, and so everybody can look
    serialize_as_secret_always = False
    # belongs to the process, never to the instance that is pickled
    _keys: StorageKeys | None = None

    def configure(self, req: ConfigureRequest) -> None:
        """Read the keys from the configuration; they stay in this process's memory."""
        text = req.config.get("bastide:secrets")
        self._keys = storage_keys_from("at work", json.loads(text) if text else None)

    def create(self, props: Props) -> CreateResult:
        """Put the rule."""
        self._put(props)
        return CreateResult(str(props["bucket"]), _outputs(props))

    def read(self, id_: str, props: Props) -> ReadResult:
        """What rule there is now; none is `days` 0, so that the next `pulumi up` puts it again."""
        client = self._client(props)
        try:
            found = client.get_object_lock_configuration(Bucket=id_)["ObjectLockConfiguration"]
        except client.exceptions.NoSuchBucket:
            return ReadResult("", {})
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
            found = {}
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        now = {**_outputs(props), "mode": str(rule.get("Mode", "")).lower(), "days": int(rule.get("Days", 0))}
        return ReadResult(id_, now)

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        """Another bucket is another rule; days and mode are changed in place."""
        replaces = [name for name in _FIXED if _olds.get(name) != _news.get(name)]
        changes = bool(replaces) or any(_olds.get(name) != _news.get(name) for name in _FREE)
        return DiffResult(changes=changes, replaces=replaces)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        """Put the new rule in the place of the old one; it holds for objects that are written from then on."""
        self._put(_news)
        return UpdateResult(_outputs(_news))

    def delete(self, _id: str, _props: Props) -> None:
        """Take the rule away. The lock itself cannot be taken from a bucket, nor from the objects in it."""
        client = self._client(_props)
        try:
            client.put_object_lock_configuration(Bucket=_id, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
        except client.exceptions.NoSuchBucket:
            return  # gone with its bucket

    def _put(self, props: Props) -> None:
        retention = {"Mode": str(props["mode"]).upper(), "Days": int(props["days"])}
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
        self._client(props).put_object_lock_configuration(Bucket=props["bucket"], ObjectLockConfiguration=rule)

    def _client(self, props: Props) -> Any:  # noqa: ANN401 - boto3's own class
        return buckets.client(props["endpoint"], props["location"], props.get("certificate"), self._keys)


class ObjectLock(Resource, module="bastide", name="ObjectLock"):
    """The default retention of one bucket: for how many days, and in which mode."""

    def __init__(
        self, name: str, bucket: pulumi.Input[str], wanted: Bucket, storage: Storage, opts: pulumi.ResourceOptions
    ) -> None:
        props = {
            "bucket": bucket,
            "mode": wanted.lock_mode,
            "days": wanted.lock_days,
            "endpoint": storage.endpoint,
            "location": storage.location,
            "certificate": storage.certificate,
        }
        super().__init__(ObjectLockProvider(), name, props, opts)


def _outputs(props: Props) -> Props:
    """The inputs, and nothing else that the engine may have put among them; days as a whole number again."""
    return {name: int(props[name]) if name == "days" else props.get(name) for name in (*_FIXED, *_FREE)}
