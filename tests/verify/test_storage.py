"""Buckets: closed to strangers, locked for a time, and forgetting nothing too early."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from bastide.machines import Machine
from bastide.settings import Settings
from bastide.settings.storage import Bucket
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import storage
from tests.verify.probes.world import Observation, declared

REFUSED = {"AccessDenied", "Forbidden"}
# Amazon and Ceph call a locked version the first, MinIO the second
HELD = {"AccessDenied", "InvalidRequest"}

TRIED = "all that strangers tried was refused, but what they asked for need not exist, and no policy could be read"


def _buckets(settings: Settings, *, keys: bool) -> dict[str, Bucket]:
    if keys and storage.KEYS is None:
        not_provable_here(storage.NO_KEYS)
    return declared(settings.storage).buckets


@pytest.mark.control("storage-01")
@pytest.mark.probe(storage.as_stranger)
def test_strangers_are_refused(
    observation: Observation, machine: Machine, settings: Settings, note: Callable[[str], None]
) -> None:
    """Without a key, listing, reading, writing and deleting are refused in every bucket, and no policy allows them."""
    wrong = []
    for bucket in _buckets(settings, keys=False):
        found = observation.data[bucket]
        note(f"{bucket}: " + ", ".join(f"{what} {code or 'let through'}" for what, code in found["attempts"].items()))
        if open_ := [what for what, code in found["attempts"].items() if code not in REFUSED]:
            wrong.append(f"{bucket} lets strangers {' and '.join(open_)}")
        if "policy" not in found:
            continue
        # an attempt is made at one name: what holds for others, or for another action, stands in the policy alone
        extra, lost = _differences(found["policy"], _tls_only(bucket))
        wrong += [f"{bucket}: its policy says more than the declared one: {statement}" for statement in extra]
        if lost:
            wrong.append(f"{bucket}: its policy no longer refuses whoever comes without TLS")
        if found["others"]:
            wrong.append(f"{bucket}: its access list has {', '.join(found['others'])}")
        listed = "not told" if found["others"] is None else "of the owner alone"
        if not (extra or lost or found["others"]):
            note(f"{bucket}: policy as declared, access list {listed}")
    judge(wrong)
    if storage.KEYS is None:
        not_provable_here(f"{storage.NO_KEYS}: {TRIED}")


def _tls_only(bucket: str) -> str:
    """The one statement that a bucket's policy makes: whoever comes without TLS is refused (Amazon S3 user guide, rule
    "s3-bucket-ssl-requests-only")."""
    both = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    refused = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both, "Condition": plain}
    return json.dumps({"Statement": refused})


def _differences(policy: str, declared: str) -> tuple[list[str], list[str]]:
    """What a policy says besides the declared one, and what it does not say any more."""
    is_, wanted = storage.statements(policy), storage.statements(declared)
    return sorted(is_ - wanted), sorted(wanted - is_)


@pytest.mark.control("storage-02")
@pytest.mark.probe(storage.with_keys)
def test_locked_objects_stay(
    observation: Observation, machine: Machine, settings: Settings, note: Callable[[str], None]
) -> None:
    """The default lock is the declared one, a new object has it, and deleting that object's version is refused."""
    locked = {name: bucket for name, bucket in _buckets(settings, keys=True).items() if bucket.lock_days}
    if not locked:
        not_provable_here("no bucket of this stack has a lock")
    judge(text for name, wanted in locked.items() for text in _unlocked(name, wanted, observation.data[name]))
    for name in locked:
        found = observation.data[name]
        note(f"{name}: locked until {found['held']['RetainUntilDate']:%Y-%m-%d}, deleting it gives {found['delete']}")


def _unlocked(name: str, wanted: Bucket, found: dict[str, Any]) -> Iterator[str]:
    """Why a bucket does not hold what is written to it."""
    days = wanted.lock_days or 0
    if found["lock"] != {"Mode": wanted.lock_mode.upper(), "Days": days}:
        yield f"{name}: the default lock is not {days} days of {wanted.lock_mode}"
    if "held" not in found:
        yield f"{name}: no object was tried, without a lock or without versions"
        return
    until = found["held"].get("RetainUntilDate")
    if not until:
        yield f"{name}: a new object is not locked"
    # the storage's clock and this one need not agree to the minute
    elif until - found["written"] <= timedelta(days=days, hours=-1):
        yield f"{name}: a new object is locked until {until}"
    if found["delete"] not in HELD:
        yield f"{name}: a locked object could be deleted"


@pytest.mark.control("storage-03")
@pytest.mark.probe(storage.with_keys)
def test_deleted_objects_can_be_had_back(
    observation: Observation, machine: Machine, settings: Settings, note: Callable[[str], None]
) -> None:
    """An object that was deleted is gone for readers and can be read by its version; no rule removes that too early."""
    versioned = {name: bucket for name, bucket in _buckets(settings, keys=True).items() if bucket.versioning}
    if not versioned:
        not_provable_here("no bucket of this stack keeps versions")
    judge(text for name, wanted in versioned.items() for text in _lost(name, wanted, observation.data[name]))
    for name in versioned:
        soonest = _soonest(observation.data[name])
        note(f"{name}: a deleted object was read by its version; rules remove after {soonest or 'no'} days")


def _lost(name: str, wanted: Bucket, found: dict[str, Any]) -> Iterator[str]:
    """Why what is deleted from a bucket cannot be had back, or not for long."""
    if found["versioning"] != "Enabled":
        # nothing was deleted to see it: there would be nothing left to look at
        yield f"{name}: versioning is {found['versioning'] or 'off'}"
    else:
        if found["gone"] != "NoSuchKey":
            yield f"{name}: a deleted object can still be read"
        if found["readable"]:
            yield f"{name}: the version of a deleted object is {found['readable']}"
    soonest = _soonest(found)
    if soonest is not None and (wanted.expire_old_days is None or soonest < wanted.expire_old_days):
        yield f"{name}: older versions are removed after {soonest} days"


def _soonest(found: dict[str, Any]) -> int | None:
    """After how many days a rule removes older versions; None where none does."""
    rules = [rule for rule in found["rules"] if rule["Status"] == "Enabled"]
    days = [int(rule["NoncurrentVersionExpiration"].get("NoncurrentDays", 0)) for rule in rules
            if "NoncurrentVersionExpiration" in rule]  # fmt: skip
    return min(days, default=None)
