"""Are the checks any good? Each wrong way is built in on purpose and must turn its check red; then all is green again.

What was caught stands in build/<stack>/sabotage.json, and as a figure on the security page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from bastide.evidence import evidence_path, load
from bastide.secrets import StorageKeys
from bastide.settings import Storage
from bastide.stackfile import read
from stacks.buckets import client, tls_only
from tests.rehearsal.sabotages import SABOTAGES, Sabotage
from tests.rehearsal.sabotages.model import Order
from tests.rehearsal.stack import Rehearsal
from tests.verify.evidence_plugin import BROKEN, commit

LAB = "flow"


@pytest.fixture(scope="module")
def table(rehearsal: Rehearsal) -> Iterator[list[dict[str, Any]]]:
    """The rows of the published figure; written when the last sabotage is over."""
    rows: list[dict[str, Any]] = []
    yield rows
    if len(rows) < len(SABOTAGES):
        return  # a part of them is no figure
    figure = {
        "version": 1,
        "at": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "commit": commit(rehearsal.root),
        "caught": sum(row["caught"] for row in rows),
        "total": len(rows),
        "rows": rows,
    }
    (rehearsal.build / "sabotage.json").write_text(json.dumps(figure, indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_it_is_caught(sabotage: Sabotage, rehearsal: Rehearsal, table: list[dict[str, Any]]) -> None:
    path = rehearsal.build / "sabotage-evidence.json"
    path.unlink(missing_ok=True)
    break_, undo = sabotage.scripts(read(rehearsal.file))
    began = time.monotonic()
    rules = _open(rehearsal, sabotage)
    changed = ExitStack()
    try:
        changed.enter_context(_changed_bucket(rehearsal, sabotage))
        _give(rehearsal, sabotage.orders)
        rehearsal.exec(sabotage.machine, break_)
        words = ("--control", sabotage.control, "--machine", sabotage.machine, "--evidence", str(path))
        rehearsal.verify_warm(*words, keys=sabotage.bucket is not None)
        row = load(path).row(sabotage.control, sabotage.machine)
    finally:
        try:
            rehearsal.exec(sabotage.machine, undo)
        finally:
            _close(rehearsal, rules)
            _give(rehearsal, sabotage.taken_back)
            changed.close()
    # red for another reason (a check that fell over, a machine that did not answer) is not caught
    caught = row is not None and row.outcome == "failed" and BROKEN not in row.detail and sabotage.says in row.detail
    detail = row.detail if row else "no evidence was written"
    seconds = round(time.monotonic() - began, 1)
    table.append(
        {"control": sabotage.control, "what": sabotage.what, "caught": caught, "detail": detail, "seconds": seconds}
    )
    assert caught, f"{sabotage.name}: not caught ({row.outcome if row else 'no row'}: {detail})"


def test_all_is_green_again(rehearsal: Rehearsal) -> None:
    done = rehearsal.verify(check=False)
    failed = [f"{row.control} on {row.machine}: {row.detail}" for row in load(
        evidence_path(rehearsal.stack, rehearsal.root)).rows if row.outcome == "failed"]  # fmt: skip
    assert done.ok, failed or done.stdout[-2000:]
    assert failed == []


def _open(rehearsal: Rehearsal, sabotage: Sabotage) -> list[tuple[int, list[dict[str, Any]]]]:
    """Add the sabotage's rules to the provider's firewalls. Returns the rules as they were, by firewall."""
    if not sabotage.opened:
        return []
    before = []
    for firewall in rehearsal.api("GET", "/v1/firewalls")["firewalls"]:
        rules = [{key: value for key, value in rule.items() if value is not None} for rule in firewall["rules"]]
        before.append((firewall["id"], rules))
        _set(rehearsal, firewall["id"], [*rules, *sabotage.opened])
    return before


@contextmanager
def _changed_bucket(rehearsal: Rehearsal, sabotage: Sabotage) -> Iterator[None]:
    """The first bucket, or one without versions, as the sabotage changes it."""
    if sabotage.bucket is None:
        yield
        return
    storage = read(rehearsal.file).storage
    assert storage
    own = _own(rehearsal, storage)
    with _plain_bucket(rehearsal, storage, own) if sabotage.plain else nullcontext(next(iter(storage.buckets))) as name:
        mend = sabotage.bucket(own, name)
        try:
            yield
        finally:
            mend()


@contextmanager
def _plain_bucket(rehearsal: Rehearsal, storage: Storage, own: Any) -> Iterator[str]:
    """A bucket without versions, made as the stack would make it, and declared."""
    name = "example-plain"
    own.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": storage.location})
    try:
        own.put_bucket_policy(Bucket=name, Policy=tls_only(name))
        declared = {known: bucket.model_dump() for known, bucket in storage.buckets.items()}
        with rehearsal.settings_changed("storage.buckets", {**declared, name: {"versioning": False}}):
            yield name
    finally:
        for item in own.list_objects_v2(Bucket=name).get("Contents", []):
            own.delete_object(Bucket=name, Key=item["Key"])
        own.delete_bucket(Bucket=name)


def _own(rehearsal: Rehearsal, storage: Storage) -> Any:
    """A client with the stack's own keys."""
    keys = rehearsal.storage_keys()
    pair = StorageKeys(keys["BASTIDE_STORAGE_ACCESS_KEY"], SecretStr(keys["BASTIDE_STORAGE_SECRET_KEY"]))
    return client(storage.endpoint, storage.location, storage.certificate, pair, rehearsal.root)


def _close(rehearsal: Rehearsal, before: list[tuple[int, list[dict[str, Any]]]]) -> None:
    for firewall, rules in before:
        _set(rehearsal, firewall, rules)


def _give(rehearsal: Rehearsal, orders: tuple[Order, ...]) -> None:
    """Give orders to the provider, one after the other, and wait for each."""
    for order in orders:
        filled = order.filled(read(rehearsal.file), rehearsal.inventory())
        answer = rehearsal.api(filled.method, filled.path, filled.body) or {}
        _wait(rehearsal, [answer["action"]] if "action" in answer else [])


def _set(rehearsal: Rehearsal, firewall: int, rules: list[dict[str, Any]]) -> None:
    """Replace a firewall's rules and wait for it."""
    answer = rehearsal.api("POST", f"/v1/firewalls/{firewall}/actions/set_rules", {"rules": rules})
    _wait(rehearsal, answer["actions"])


def _wait(rehearsal: Rehearsal, actions: list[dict[str, Any]]) -> None:
    deadline = time.monotonic() + 20
    for action in actions:
        while action["status"] == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
            action = rehearsal.api("GET", f"/v1/actions/{action['id']}")["action"]
        assert action["status"] == "success", action
