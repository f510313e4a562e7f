"""The buckets, from the operator's machine: as a stranger, and with the keys where they are at hand.

The keys come by the environment (`make verify` sets them where the stack's passphrase is there) and are taken out of it
at once, so that no program that is started from here inherits them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from pydantic import SecretStr

from bastide.machines import Machine
from bastide.secrets import StorageKeys
from bastide.settings import Storage
from stacks.buckets import client
from tests.verify.probes.engine import probe
from tests.verify.probes.world import NotSeen, World, declared

NO_KEYS = "the object storage's keys are not at hand here (BASTIDE_STORAGE_ACCESS_KEY, BASTIDE_STORAGE_SECRET_KEY)"
# one small object that is written again once a day; its versions expire like all others
PROBE = "bastide/probe"
# what strangers try to read. It is there: S3 says AccessDenied of what is missing, too, to whoever may not list
CLOSED = "bastide/closed"
# what strangers try to delete. Nothing has this name: where it is let through, nothing is lost
NOTHING = "bastide/nothing"
_FRESH = timedelta(days=1)

_access = os.environ.pop("BASTIDE_STORAGE_ACCESS_KEY", "")
_secret = os.environ.pop("BASTIDE_STORAGE_SECRET_KEY", "")
KEYS = StorageKeys(_access, SecretStr(_secret)) if _access and _secret else None


@probe()
def as_stranger(world: World, machine: Machine) -> tuple[str, Any]:
    """By bucket: what a stranger's attempts give (S3's answer, "" when it was let through), and with keys at hand what
    the bucket lets others do (its policy, and who else is in its access list; None when the storage does not tell)."""
    storage = declared(world.settings.storage)
    stranger, own = _client(storage, world, None), _client(storage, world, KEYS) if KEYS else None
    found = {}
    for bucket in storage.buckets:
        rights = _asked(partial(_rights, own, bucket)) if own else {}
        found[bucket] = {"attempts": _attempts(stranger, bucket), **rights}
    return f"curl {storage.endpoint}/{next(iter(storage.buckets))}", found


@probe()
def with_keys(world: World, machine: Machine) -> tuple[str, Any]:
    """By bucket: its versioning, lock and lifecycle, and what became of the probe."""
    storage = declared(world.settings.storage)
    if KEYS is None:
        return "", None
    own = _client(storage, world, KEYS)
    return "boto3: put, get and delete of bastide/probe", {
        name: _asked(partial(_bucket, own, name)) for name in storage.buckets
    }


def _client(storage: Storage, world: World, keys: StorageKeys | None) -> Any:
    return client(storage.endpoint, storage.location, storage.certificate, keys, world.root)


def _attempts(stranger: Any, bucket: str) -> dict[str, str]:
    tries: dict[str, Callable[[], object]] = {
        "list": lambda: stranger.list_objects_v2(Bucket=bucket),
        "list versions": lambda: stranger.list_object_versions(Bucket=bucket),
        "read": lambda: stranger.get_object(Bucket=bucket, Key=CLOSED),
        # no body and a name that nothing else has: where it is let through, one empty object tells of it
        "write": lambda: stranger.put_object(Bucket=bucket, Key="bastide/stranger", Body=b""),
        "delete": lambda: stranger.delete_object(Bucket=bucket, Key=NOTHING),
    }
    return {what: _asked(partial(_code, one)) for what, one in tries.items()}


def _rights(own: Any, name: str) -> dict[str, Any]:
    """See that there is something to read for strangers, and ask what the bucket lets others do."""
    if _code(lambda: own.head_object(Bucket=name, Key=CLOSED)):
        own.put_object(Bucket=name, Key=CLOSED, Body=b"written by tests/verify, for strangers to be refused\n")
    policy: dict[str, Any] = {}
    _code(lambda: policy.update(own.get_bucket_policy(Bucket=name)))
    acl: dict[str, Any] = {}
    _code(lambda: acl.update(own.get_bucket_acl(Bucket=name)))
    return {"policy": policy.get("Policy", ""), "others": others(acl) if acl else None}


def others(acl: dict[str, Any]) -> list[str]:
    """Who else than its owner is in a bucket's access list, and its right. MinIO tells the owner's without an id."""
    found = []
    for grant in acl.get("Grants", []):
        who = grant["Grantee"].get("URI") or grant["Grantee"].get("ID", "")
        if who not in ("", acl["Owner"].get("ID")):
            found.append(f"{grant['Permission']} for {who}")
    return found


def statements(policy: str) -> set[str]:
    """What a policy says, a line a statement, in one spelling: S3 lets one value stand for a list of one."""

    def lines(statement: dict[str, Any]) -> str:
        said = {key: value for key, value in statement.items() if key != "Sid"}
        if said.get("Principal") == "*":
            said["Principal"] = {"AWS": "*"}
        return json.dumps(_listed(said), sort_keys=True)

    stated = json.loads(policy)["Statement"] if policy else []
    return {lines(statement) for statement in ([stated] if isinstance(stated, dict) else stated)}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return sorted(value) if isinstance(value, list) else [value]


def _bucket(own: Any, name: str) -> dict[str, Any]:
    """What is set, then what really happens to a version of the probe."""
    versioning = own.get_bucket_versioning(Bucket=name).get("Status", "")
    lock: dict[str, Any] = {}
    if not _code(lambda: lock.update(own.get_object_lock_configuration(Bucket=name))):
        lock = lock["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention", {})
    lifecycle: dict[str, Any] = {}
    _code(lambda: lifecycle.update(own.get_bucket_lifecycle_configuration(Bucket=name)))
    found: dict[str, Any] = {"versioning": versioning, "lock": lock, "rules": lifecycle.get("Rules", [])}
    if versioning != "Enabled":
        return found  # a probe would leave nothing to look at
    version, written = _probe(own, name, int(lock.get("Days", 0)))
    # deleted as anybody would: that puts a mark on top, under which the version has to be readable still
    marker = own.delete_object(Bucket=name, Key=PROBE)
    found["gone"] = _code(lambda: own.get_object(Bucket=name, Key=PROBE))
    found["readable"] = _code(lambda: own.get_object(Bucket=name, Key=PROBE, VersionId=version)["Body"].read())
    own.delete_object(Bucket=name, Key=PROBE, VersionId=marker["VersionId"])
    if lock:
        found["written"] = written
        held: dict[str, Any] = {}
        _code(lambda: held.update(own.get_object_retention(Bucket=name, Key=PROBE, VersionId=version)["Retention"]))
        found["held"] = held
        found["delete"] = _code(lambda: own.delete_object(Bucket=name, Key=PROBE, VersionId=version))
    return found


def _probe(own: Any, name: str, lock_days: int) -> tuple[str, datetime]:
    """The newest version of the probe and when it was written; a new one when that is a day old, or was written while
    the bucket's lock was shorter."""
    versions = own.list_object_versions(Bucket=name, Prefix=PROBE).get("Versions", [])
    newest = max(versions, key=lambda one: one["LastModified"], default=None)
    if newest and datetime.now(UTC) - newest["LastModified"] < _FRESH:
        held: dict[str, Any] = {}
        _code(
            lambda: held.update(
                own.get_object_retention(Bucket=name, Key=PROBE, VersionId=newest["VersionId"])["Retention"]
            )
        )
        until = held.get("RetainUntilDate", newest["LastModified"])
        if until - newest["LastModified"] >= timedelta(days=lock_days, hours=-1):
            return newest["VersionId"], newest["LastModified"]
    made = own.put_object(Bucket=name, Key=PROBE, Body=b"written by tests/verify, once a day\n")
    return made["VersionId"], datetime.now(UTC)


def _code(call: Callable[[], object]) -> str:
    """S3's word for why it refused; "" when it did not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def _asked(call: Callable[[], Any]) -> Any:
    """What the storage answered. Raises `NotSeen` when it cannot be reached or opens to these keys no more."""
    try:
        return call()
    except (BotoCoreError, ClientError) as error:
        raise NotSeen(
            f"the object storage could not be asked: {error}", "see settings.storage, and try `curl`"
        ) from None
