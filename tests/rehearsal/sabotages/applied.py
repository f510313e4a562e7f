"""Does sabotages on the rehearsal's machines, at the provider and to its buckets, and undoes them all."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from pydantic import SecretStr

from bastide.secrets import StorageKeys
from bastide.settings import Storage
from bastide.stackfile import read
from stacks.buckets import client, tls_only
from tests.rehearsal.sabotages.model import Json, Order, Sabotage
from tests.rehearsal.stack import Rehearsal

_SECONDS = 180  # for all that is done on one machine; a standby that comes back takes the longest
_MARK = "--sabotage"

Scripts = list[tuple[Sabotage, str]]
"""What runs on one machine, in this order."""


@contextmanager
def applied(rehearsal: Rehearsal, sabotages: Sequence[Sabotage]) -> Iterator[dict[str, str]]:
    """Do all of them, and undo them in reverse order whatever fails.

    Yields what the scripts of those that failed printed, by name. Raises `AssertionError` when one was not undone.
    """
    settings = read(rehearsal.file)
    done: dict[str, Scripts] = {}
    undone: dict[str, Scripts] = {}
    for one in sabotages:
        break_, undo = one.scripts(settings)
        done.setdefault(one.machine, []).append((one, break_))
        undone.setdefault(one.machine, []).insert(0, (one, undo))
    with ExitStack() as changed:
        for one in sabotages:
            _at_the_provider(rehearsal, one, changed)
        changed.callback(_undo, rehearsal, undone)
        yield _everywhere(rehearsal, done)


def _undo(rehearsal: Rehearsal, scripts: Mapping[str, Scripts]) -> None:
    left = _everywhere(rehearsal, scripts)
    assert not left, f"not undone: {left}"


def _everywhere(rehearsal: Rehearsal, scripts: Mapping[str, Scripts]) -> dict[str, str]:
    """Run scripts on all machines side by side. Returns what those that failed printed, by the sabotage's name."""
    with ThreadPoolExecutor(len(scripts)) as pool:
        found = pool.map(lambda item: _on_one(rehearsal, *item), scripts.items())
        return {name: said for failed in found for name, said in failed.items()}


def _on_one(rehearsal: Rehearsal, machine: str, scripts: Scripts) -> dict[str, str]:
    """One script after the other, each in a shell that stops at its first fault; at last, once, what makes it count."""
    thens = {one.then: [other for other, _ in scripts if other.then == one.then] for one, _ in scripts}
    steps = [*((script, [one]) for one, script in scripts), *thens.items()]
    # on lines of its own: a script may end with a here-document
    shells = [f"( set -e\n{script}\n) </dev/null 2>&1; code=$?; echo; echo {_MARK} $code" for script, _ in steps]
    text = rehearsal.exec(machine, "\n".join(("set +e", *shells)), timeout=_SECONDS).stdout
    ends = re.findall(rf"(.*?)\n{_MARK} ([0-9]+)\n", text, re.DOTALL)
    assert len(ends) == len(steps), f"{machine} ran {len(ends)} of {len(steps)} scripts: {text[-300:]}"
    return {
        one.name: said.strip()
        for (_, several), (said, code) in zip(steps, ends, strict=True)
        if code != "0"
        for one in several
    }


def _at_the_provider(rehearsal: Rehearsal, sabotage: Sabotage, changed: ExitStack) -> None:
    """What is done to a bucket, to the provider's firewalls, and by orders to it; `changed` undoes it."""
    changed.enter_context(_changed_bucket(rehearsal, sabotage))
    for firewall in rehearsal.api("GET", "/v1/firewalls")["firewalls"] if sabotage.opened else ():
        rules = [{key: value for key, value in rule.items() if value is not None} for rule in firewall["rules"]]
        changed.callback(_set, rehearsal, firewall["id"], rules)
        _set(rehearsal, firewall["id"], [*rules, *sabotage.opened])
    changed.callback(_give, rehearsal, sabotage.taken_back)
    _give(rehearsal, sabotage.orders)


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


def _give(rehearsal: Rehearsal, orders: tuple[Order, ...]) -> None:
    """Give orders to the provider, one after the other, and wait for each."""
    for order in orders:
        filled = order.filled(read(rehearsal.file), rehearsal.inventory())
        answer = rehearsal.api(filled.method, filled.path, filled.body) or {}
        _wait(rehearsal, [answer["action"]] if "action" in answer else [])


def _set(rehearsal: Rehearsal, firewall: int, rules: list[Json]) -> None:
    """Replace a firewall's rules and wait for it."""
    answer = rehearsal.api("POST", f"/v1/firewalls/{firewall}/actions/set_rules", {"rules": rules})
    _wait(rehearsal, answer["actions"])


def _wait(rehearsal: Rehearsal, actions: list[Json]) -> None:
    deadline = time.monotonic() + 20
    for action in actions:
        while action["status"] == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
            action = rehearsal.api("GET", f"/v1/actions/{action['id']}")["action"]
        assert action["status"] == "success", action
