"""Buckets and the state in one: made by the program, against a real S3 server, with everything that must be refused."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from bastide.console import run
from tests.rehearsal.bucket_stack import (
    ACCESS,
    ROOT,
    SECRET,
    STATE_BUCKET,
    BucketStack,
    Server,
    clone_of,
    first_stack,
    storage_server,
)

LAB = "storage"

LOCKED, PLAIN = "example-locked", "example-plain"
WANTED = {
    LOCKED: {"lock_days": 30, "expire_old_days": 60},
    PLAIN: {"expire_days": 7},
}
# What Hetzner's object storage has of S3: docs.hetzner.com/storage/object-storage/supported-actions lists what it lacks
# (requests for payment, notification, website, analytics, inventory, logging, metrics, ownership, replication, tagging,
# restore, select, torrent, attributes). The names are MinIO's.
SUPPORTED = {
    *("HeadBucket", "PutBucket", "ListBuckets", "GetBucketLocation", "DeleteBucket"),
    *("PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy"),
    *("PutBucketVersioning", "GetBucketVersioning"),
    *("PutBucketLifecycle", "GetBucketLifecycle", "DeleteBucketLifecycle"),
    *("PutBucketObjectLockConfig", "GetBucketObjectLockConfig"),
}

# the word for "it is locked": Amazon and Ceph (Hetzner) say the first, MinIO the second
HELD = {"AccessDenied", "InvalidRequest"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with storage_server(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(server: Server, tmp_path_factory: pytest.TempPathFactory) -> BucketStack:
    """The buckets, made."""
    place = tmp_path_factory.mktemp("operator")
    (place / "state").mkdir()
    made = first_stack(place / "clone", server, f"file://{place}/state")
    made.wants(WANTED)
    server.asked()
    server.calls.clear()
    made.pulumi("up", "--yes", "--skip-preview", "--stack", "buckets")
    return made


def _refused(call: object, **words: object) -> str:
    with pytest.raises(ClientError) as caught:
        call(**words)  # type: ignore[operator]
    return str(caught.value.response["Error"]["Code"])


def test_a_second_run_and_a_reading_one_find_nothing_to_do(stack: BucketStack) -> None:
    for words in (["preview"], ["preview", "--refresh"]):
        done = stack.pulumi(*words, "--expect-no-changes", "--diff", "--stack", "buckets", check=False)
        assert done.ok, done.stdout[-3000:]


def test_only_calls_that_hetzner_has_too(stack: BucketStack, server: Server) -> None:
    asked = server.asked()
    assert {"PutBucket", "PutBucketVersioning", "PutBucketObjectLockConfig"} <= asked, "the server tells of no calls"
    assert asked <= SUPPORTED


def test_what_is_deleted_can_be_had_back_and_what_is_locked_cannot_be_deleted(
    stack: BucketStack, server: Server
) -> None:
    client = server.client()
    for bucket in WANTED:
        version = client.put_object(Bucket=bucket, Key="word", Body=b"first")["VersionId"]
        client.put_object(Bucket=bucket, Key="word", Body=b"second")
        client.delete_object(Bucket=bucket, Key="word")
        assert client.get_object(Bucket=bucket, Key="word", VersionId=version)["Body"].read() == b"first"
    locked = client.list_object_versions(Bucket=LOCKED)["Versions"][0]
    assert _refused(client.delete_object, Bucket=LOCKED, Key="word", VersionId=locked["VersionId"]) in HELD
    held = client.get_object_retention(Bucket=LOCKED, Key="word", VersionId=locked["VersionId"])["Retention"]
    assert held["Mode"] == "GOVERNANCE"
    assert 29 <= (held["RetainUntilDate"] - locked["LastModified"]).days <= 30
    assert _refused(client.put_bucket_versioning, Bucket=LOCKED, VersioningConfiguration={"Status": "Suspended"}) in {
        "InvalidBucketState",
        "InvalidRequest",
    }


def test_strangers_see_nothing(stack: BucketStack, server: Server) -> None:
    stranger = server.client(stranger=True)
    for bucket in WANTED:
        assert _refused(stranger.list_objects_v2, Bucket=bucket) == "AccessDenied"
        assert _refused(stranger.get_object, Bucket=bucket, Key="word") == "AccessDenied"
        assert _refused(stranger.put_object, Bucket=bucket, Key="other", Body=b"") == "AccessDenied"


def test_no_key_lies_in_the_state_in_plain(stack: BucketStack) -> None:
    text = json.dumps(stack.export())
    assert SECRET not in text
    assert ACCESS not in text.replace(str(stack.place), "")
    locks = [item for item in stack.export()["deployment"]["resources"] if item["type"].endswith(":ObjectLock")]
    (lock,) = locks
    pickled = base64.b64decode(lock["inputs"]["__provider"])
    assert b"ObjectLockProvider" in pickled
    assert SECRET.encode() not in pickled
    assert b"storage_keys" not in pickled, "only the class's name is in it, not its code and what that has read"
    assert set(lock["inputs"]) == {"__provider", "bucket", "mode", "days", "endpoint", "location", "certificate"}
    for path in stack.place.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_a_default_retention_that_somebody_took_away_is_seen_and_put_back(stack: BucketStack, server: Server) -> None:
    client = server.client()
    client.put_object_lock_configuration(Bucket=LOCKED, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    drift = stack.pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "buckets", check=False)
    assert not drift.ok
    stack.pulumi("up", "--yes", "--skip-preview", "--refresh", "--stack", "buckets")
    rule = client.get_object_lock_configuration(Bucket=LOCKED)["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert rule == {"Mode": "GOVERNANCE", "Days": 30}


def test_days_are_changed_in_place(stack: BucketStack, server: Server) -> None:
    stack.wants({**WANTED, LOCKED: {"lock_days": 31, "expire_old_days": 60}})
    done = stack.pulumi("up", "--yes", "--skip-preview", "--stack", "buckets")
    assert "replaced" not in done.stdout
    rule = server.client().get_object_lock_configuration(Bucket=LOCKED)["ObjectLockConfiguration"]["Rule"]
    assert rule["DefaultRetention"]["Days"] == 31


@pytest.fixture(scope="module")
def in_bucket(stack: BucketStack, server: Server, tmp_path_factory: pytest.TempPathFactory) -> BucketStack:
    """The same stack after its state has moved into a bucket, as docs/how-to/state-in-a-bucket.md says."""
    words = ["-m", "stacks", "state-bucket", STATE_BUCKET, "--location", "fsn1", "--endpoint", server.endpoint]
    for _ in range(2):  # a second time it finds all of it
        said = run([sys.executable, *words], cwd=ROOT, env=stack.env).stdout
    url = said.strip().removeprefix("export PULUMI_BACKEND_URL='").removesuffix("'")
    text = stack.pulumi("stack", "export", "--stack", "buckets").stdout
    moved = replace(stack, backend=url)
    moved.pulumi("stack", "init", "buckets", "--no-select")
    moved.pulumi("stack", "import", "--stack", "buckets", input=text)
    return moved


def test_the_state_moves_into_a_bucket(in_bucket: BucketStack, server: Server) -> None:
    in_bucket.pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "buckets")
    server.client().head_object(Bucket=STATE_BUCKET, Key=".pulumi/stacks/bastide/buckets.json")
    assert _refused(server.client(stranger=True).list_objects_v2, Bucket=STATE_BUCKET) == "AccessDenied"


def test_a_bucket_for_states_takes_no_bucket_of_something_else(in_bucket: BucketStack, server: Server) -> None:
    words = ["--location", "fsn1", "--endpoint", server.endpoint]
    before = server.client().get_bucket_lifecycle_configuration(Bucket=PLAIN)["Rules"]
    done = run(
        [sys.executable, "-m", "stacks", "state-bucket", PLAIN, *words], cwd=ROOT, env=in_bucket.env, check=False
    )
    assert not done.ok
    assert "holds other things than states" in done.stdout + done.stderr
    assert server.client().get_bucket_lifecycle_configuration(Bucket=PLAIN)["Rules"] == before
    run([sys.executable, "-m", "stacks", "state-bucket", STATE_BUCKET, *words], cwd=ROOT, env=in_bucket.env)


def test_a_second_operator_joins(in_bucket: BucketStack, tmp_path: Path) -> None:
    other = clone_of(in_bucket, tmp_path / "clone")
    other.pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "buckets")
    stranger = replace(other, passphrase="not the one")
    done = stranger.pulumi("preview", "--stack", "buckets", check=False)
    assert not done.ok
    assert "incorrect passphrase" in done.stdout + done.stderr


def test_two_at_once_is_refused_with_the_next_step(in_bucket: BucketStack, server: Server) -> None:
    key = ".pulumi/locks/organization/bastide/buckets/0001.json"
    lock = {"pid": 1, "username": "anna", "hostname": "elsewhere", "timestamp": "2026-01-01T00:00:00Z"}
    server.client().put_object(Bucket=STATE_BUCKET, Key=key, Body=json.dumps(lock).encode())
    try:
        done = in_bucket.pulumi("up", "--yes", "--skip-preview", "--stack", "buckets", check=False)
        said = done.stdout + done.stderr
        assert not done.ok
        assert "anna@elsewhere" in said
        assert "pulumi cancel" in said
    finally:
        in_bucket.pulumi("cancel", "--yes", "--stack", "buckets")
    in_bucket.pulumi("preview", "--expect-no-changes", "--stack", "buckets")


def test_the_state_comes_back_from_a_copy_and_from_an_older_version(
    in_bucket: BucketStack, server: Server, tmp_path: Path
) -> None:
    copy = tmp_path / "state.json"
    run([sys.executable, "-m", "stacks", "backup", "buckets", copy], cwd=in_bucket.place, env=in_bucket.env)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert SECRET not in copy.read_text()
    client, key = server.client(), ".pulumi/stacks/bastide/buckets.json"
    client.delete_object(Bucket=STATE_BUCKET, Key=key)
    assert not in_bucket.pulumi("stack", "export", "--stack", "buckets", check=False).ok
    # by versioning: the delete marker is taken away, and the state is what it was
    marker = next(one for one in client.list_object_versions(Bucket=STATE_BUCKET, Prefix=key)["DeleteMarkers"]
                  if one["Key"] == key and one["IsLatest"])  # fmt: skip
    client.delete_object(Bucket=STATE_BUCKET, Key=key, VersionId=marker["VersionId"])
    in_bucket.pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "buckets")
    # by the copy, into a bucket that knows nothing
    in_bucket.pulumi("stack", "rm", "--force", "--yes", "--preserve-config", "buckets")
    in_bucket.pulumi("stack", "init", "buckets", "--no-select")
    in_bucket.pulumi("stack", "import", "--stack", "buckets", "--file", str(copy))
    in_bucket.pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "buckets")


def test_a_changed_passphrase_shuts_the_old_one_out(in_bucket: BucketStack, tmp_path: Path) -> None:
    in_bucket.pulumi("stack", "change-secrets-provider", "passphrase", "--stack", "buckets", input="second\nsecond\n")
    with_new = replace(in_bucket, passphrase="second")
    with_new.pulumi("preview", "--refresh", "--expect-no-changes", "--stack", "buckets")
    assert not in_bucket.pulumi("preview", "--stack", "buckets", check=False).ok
    # the stack file carries the change to everybody else
    other = clone_of(with_new, tmp_path / "clone")
    other.pulumi("preview", "--expect-no-changes", "--stack", "buckets")
