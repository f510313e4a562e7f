"""What turns the check of strangers red, and that it proves nothing where it cannot know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from bastide.secrets import StorageKeys
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
