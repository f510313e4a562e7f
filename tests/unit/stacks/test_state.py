"""The bucket for states: made or completed, and never one that holds something else. And who imports boto3 for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from bastide.console import run
from bastide.errors import StackError
from stacks.ops import state


class Storage:
    """An object storage with one bucket, as far as this is asked: what is in it by key, and what was put about it."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.put: list[str] = []

    def list_buckets(self) -> Any:
        return {"Buckets": [{"Name": "example-state"}]}

    def list_object_versions(self, Bucket: str, Delimiter: str) -> Any:
        folders = sorted({key.partition("/")[0] + "/" for key in self.keys if "/" in key})
        flat = [{"Key": key} for key in self.keys if "/" not in key]
        return {"CommonPrefixes": [{"Prefix": name} for name in folders], "Versions": flat} if self.keys else {}

    def __getattr__(self, name: str) -> Any:
        return lambda **words: self.put.append(name)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Any:
    box = SimpleNamespace(own=Storage())
    monkeypatch.setattr(state.buckets, "client", lambda *words: box.own)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return box


@pytest.mark.parametrize("keys", [(), (".pulumi/meta.yaml", ".pulumi/stacks/bastide/prod.json")])
@pytest.mark.parametrize("bucket", ["example-state", "example-new"])
def test_an_empty_bucket_or_one_of_states_is_completed(storage: Any, keys: tuple[str, ...], bucket: str) -> None:
    storage.own = Storage(*keys)
    assert state.make_state_bucket(bucket, "https://x", "fsn1").startswith(f"s3://{bucket}?endpoint=x&")
    made = ["create_bucket"] if bucket == "example-new" else []
    about = ["put_bucket_versioning", "put_bucket_policy", "put_bucket_lifecycle_configuration"]
    assert storage.own.put == [*made, *about]


@pytest.mark.parametrize("key", ["backups/monday", "word", ".pulumi-old/x", ".pulumi"])
def test_a_bucket_that_holds_something_else_is_left_as_it_is(storage: Any, key: str) -> None:
    storage.own = Storage(".pulumi/meta.yaml", key)
    with pytest.raises(StackError, match="holds other things than states") as caught:
        state.make_state_bucket("example-state", "https://x", "fsn1")
    assert "choose another name" in caught.value.hint
    assert storage.own.put == []


def test_no_client_of_s3_is_imported_before_it_is_needed() -> None:
    """A third of a second, on every `make infra`."""
    code = "import sys, stacks.ops.recover, stacks.ops.state, stacks.ops.lifecycle; print('botocore' in sys.modules)"
    assert run([sys.executable, "-c", code]).stdout == "False\n"
