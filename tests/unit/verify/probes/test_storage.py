"""What turns the check of strangers red, and that it proves nothing where it cannot know."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from bastide.secrets import StorageKeys
from bastide.settings.storage import Bucket
from stacks.buckets import tls_only
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify import test_storage as checked
from tests.verify.probes import storage
from tests.verify.probes.world import Observation, now

BUCKET = "example-backup"
REFUSED = dict.fromkeys(("list", "list versions", "read", "write", "delete"), "AccessDenied")
OWNER = {"Grantee": {"Type": "CanonicalUser", "ID": "us"}, "Permission": "FULL_CONTROL"}
ALL = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}


def allowing(action: str, resource: str) -> str:
    document = json.loads(tls_only(BUCKET))
    document["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource})
    return json.dumps(document)


def judged(monkeypatch: pytest.MonkeyPatch, *, keys: bool = True, **found: Any) -> list[str]:
    """The notes of the check of what was found, with or without keys at hand."""
    monkeypatch.setattr(storage, "KEYS", StorageKeys("a", SecretStr("b")) if keys else None)
    notes: list[str] = []
    observation = Observation("curl", {BUCKET: {"attempts": REFUSED, **found}}, now(), 0.0)
    checked.test_strangers_are_refused(observation, inventory().machines[0], SETTINGS, notes.append)
    return notes


def test_a_closed_bucket_is_proven_with_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "policy as declared" in judged(monkeypatch, policy=tls_only(BUCKET), others=[])[-1]
    assert "access list not told" in judged(monkeypatch, policy=tls_only(BUCKET), others=None)[-1]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"attempts": {**REFUSED, "delete": ""}}, "lets strangers delete"),
        # let in, and told that it is not there
        ({"attempts": {**REFUSED, "read": "NoSuchKey"}}, "lets strangers read"),
        ({"policy": allowing("s3:GetObject", f"arn:aws:s3:::{BUCKET}/other/*")}, "s3:GetObject"),
        ({"policy": allowing("s3:DeleteObjectVersion", f"arn:aws:s3:::{BUCKET}/*")}, "says more than the declared one"),
        ({"policy": ""}, "no longer refuses whoever comes without TLS"),
        ({"others": ["READ for everybody"]}, "its access list has READ for everybody"),
    ],
)
def test_what_is_open_is_named(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        judged(monkeypatch, **{"policy": tls_only(BUCKET), "others": [], **found})


def test_without_keys_an_open_bucket_is_seen_and_a_closed_one_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="lets strangers list"):
        judged(monkeypatch, keys=False, attempts={**REFUSED, "list": ""})
    with pytest.raises(pytest.skip.Exception, match="need not exist, and no policy could be read"):
        judged(monkeypatch, keys=False)


def test_a_policy_is_the_same_in_another_spelling() -> None:
    (statement,) = json.loads(tls_only(BUCKET))["Statement"]
    other = {**statement, "Sid": "x", "Principal": "*", "Action": "s3:*", "Resource": statement["Resource"][::-1]}
    assert storage.statements(json.dumps({"Statement": other})) == storage.statements(tls_only(BUCKET))
    allowed = {**statement, "Effect": "Allow"}
    assert storage.statements(json.dumps({"Statement": [allowed]})) != storage.statements(tls_only(BUCKET))


@pytest.mark.parametrize(
    ("grants", "found"),
    [([OWNER], []), ([{"Grantee": {"ID": ""}, "Permission": "FULL_CONTROL"}], []), ([OWNER, ALL], ["READ for http"])],
)
def test_who_else_is_in_an_access_list(grants: list[Any], found: list[str]) -> None:
    others = storage.others({"Owner": {"ID": "us"}, "Grants": grants})
    assert [one.startswith(start) for one, start in zip(others, found, strict=True)] == [True] * len(found)


def test_all_that_is_wrong_with_a_bucket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = {**REFUSED, "list": ""}
    with pytest.raises(AssertionError) as wrong:
        judged(monkeypatch, attempts=attempts, policy=allowing("s3:GetObject", "*"), others=["READ for everybody"])
    for says in ("lets strangers list", "says more than the declared one", "its access list has READ"):
        assert says in str(wrong.value).splitlines()[0]


def held(**changed: Any) -> dict[str, Any]:
    """A bucket with a lock of 7 days and versions for 30, and what became of the probe."""
    written = datetime(2026, 11, 1, tzinfo=UTC)
    until = {"RetainUntilDate": written + timedelta(days=7)}
    rules = [{"Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 30}}]
    found = {"versioning": "Enabled", "lock": {"Mode": "GOVERNANCE", "Days": 7}, "rules": rules, "gone": "NoSuchKey",
             "readable": "", "written": written, "held": until, "delete": "AccessDenied"}  # fmt: skip
    return {**found, **changed}


WANTED = Bucket(lock_days=7, expire_old_days=30)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, []),
        ({"held": {}, "delete": ""}, ["a new object is not locked", "a locked object could be deleted"]),
        ({"lock": {}, "delete": ""}, ["the default lock is not 7 days", "a locked object could be deleted"]),
        ({"held": {"RetainUntilDate": datetime(2026, 11, 2, tzinfo=UTC)}}, ["a new object is locked until 2026-11-02"]),
    ],
)
def test_every_hole_in_a_lock_is_named(changed: dict[str, Any], says: list[str]) -> None:
    found = list(checked._unlocked(BUCKET, WANTED, held(**changed)))
    assert len(found) == len(says)
    assert all(text.startswith(f"{BUCKET}: {start}") for text, start in zip(found, says, strict=True))


def test_a_bucket_that_no_object_could_be_tried_in_holds_nothing() -> None:
    bare = {"versioning": "Suspended", "lock": held()["lock"], "rules": []}
    assert list(checked._unlocked(BUCKET, WANTED, bare)) == [
        f"{BUCKET}: no object was tried, without a lock or without versions"
    ]
    assert list(checked._lost(BUCKET, WANTED, bare)) == [f"{BUCKET}: versioning is Suspended"]


def test_every_way_to_lose_what_was_deleted_is_named() -> None:
    assert not list(checked._lost(BUCKET, WANTED, held()))
    rules = [{"Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}]
    assert list(checked._lost(BUCKET, WANTED, held(gone="", readable="NoSuchVersion", rules=rules))) == [
        f"{BUCKET}: a deleted object can still be read",
        f"{BUCKET}: the version of a deleted object is NoSuchVersion",
        f"{BUCKET}: older versions are removed after 1 days",
    ]
