"""The buckets: private, over TLS only, versioned, locked for a time, with old versions removed after another.

Only calls of S3 that Hetzner's object storage also has (docs.hetzner.com/storage/object-storage/supported-actions):
buckets with object lock at creation, versioning, lifecycle (of old versions by NoncurrentDays alone), policies and the
lock's configuration. Not there: tagging, encryption other than SSE-C, notifications, replication, logging, users.
"""

from __future__ import annotations

import pulumi
import pulumi_minio as minio

from bastide.secrets import StorageKeys
from bastide.settings import Bucket, Storage
from stacks import buckets
from stacks.object_lock import ObjectLock


class ObjectStorage(pulumi.ComponentResource):
    """Every bucket of the stack by name."""

    def __init__(
        self,
        name: str,
        storage: Storage,
        keys: pulumi.Output[StorageKeys],
        *,
        protect: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bastide:index:ObjectStorage", name, None, opts)
        self._storage = storage
        self._hold = protect
        self._plugin = minio.Provider(
            f"{name}-provider",
            minio_server=storage.host,
            minio_user=keys.apply(lambda pair: pair.access),
            minio_password=keys.apply(lambda pair: pair.secret.get_secret_value()),
            minio_region=storage.location,
            minio_ssl=True,
            minio_cacert_file=storage.certificate,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.made = {bucket: self._make(bucket, wanted) for bucket, wanted in storage.buckets.items()}
        self.register_outputs({"buckets": sorted(self.made)})

    def _make(self, name: str, wanted: Bucket) -> minio.S3Bucket:
        bucket = minio.S3Bucket(
            name,
            bucket=name,
            acl="private",
            object_locking=wanted.lock_days is not None,
            # a bucket with something in it is never deleted, protected or not
            force_destroy=False,
            # the lock is given at creation and cannot be had later: S3 refuses, the plugin would say that it did it
            opts=self._options(protect=self._hold, ignore_changes=["objectLocking"]),
        )
        # What is about a bucket is not protected: it holds no data, and may be taken back. It is put one after
        # the other: MinIO keeps it in one file, and of two that are put at the same moment it loses one without a word.
        below = self._options(parent=bucket)
        last: pulumi.Resource = minio.S3BucketPolicy(
            f"{name}-policy", bucket=bucket.bucket, policy=buckets.tls_only(name), opts=below
        )
        if wanted.lock_days is not None:
            # a lock switches versioning on by itself, and for good: a resource for it could only fail to suspend it
            last = ObjectLock(f"{name}-lock", bucket.bucket, wanted, self._storage, _after(below, last))
        elif wanted.versioning:
            last = minio.S3BucketVersioning(
                f"{name}-versioning",
                bucket=bucket.bucket,
                versioning_configuration=minio.S3BucketVersioningVersioningConfigurationArgs(status="Enabled"),
                opts=_after(below, last),
            )
        if rules := _rules(wanted):
            minio.IlmPolicy(f"{name}-lifecycle", bucket=bucket.bucket, rules=rules, opts=_after(below, last))
        return bucket

    def _options(
        self, *, parent: pulumi.Resource | None = None, protect: bool = False, ignore_changes: list[str] | None = None
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=parent or self, provider=self._plugin, protect=protect, ignore_changes=ignore_changes
        )


def _after(options: pulumi.ResourceOptions, earlier: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[earlier]))


def _rules(wanted: Bucket) -> list[minio.IlmPolicyRuleArgs]:
    rules = []
    if wanted.expire_old_days is not None:
        rules.append(minio.IlmPolicyRuleArgs(id="old", noncurrent_version_expiration_days=wanted.expire_old_days))
    if wanted.expire_days is not None:
        rules.append(minio.IlmPolicyRuleArgs(id="objects", expiration=f"{wanted.expire_days}d"))
    return rules
