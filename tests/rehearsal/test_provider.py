"""What goes wrong at the provider: each fault ends in a clear sentence, nothing is lost, and the next run completes.

These run in the empty local cloud, before `make up`; what they leave half-made, `make up` completes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.rehearsal.stack import Rehearsal, kill_tree, wait_for

LAB = "flow"

MUTATING = ("POST", "PUT", "DELETE")


@pytest.fixture(scope="module")
def cloud(fresh: Rehearsal) -> Iterator[Rehearsal]:
    """The local cloud and the stack, with nothing in it."""
    fresh.make("lab")
    yield fresh
    fresh.api("DELETE", "/_lab/faults")


@contextmanager
def fault(cloud: Rehearsal, **what: object) -> Iterator[None]:
    """The cloud misbehaves like that, once or as often as said, until the end of the block."""
    cloud.api("POST", "/_lab/faults", what)
    try:
        yield
    finally:
        cloud.api("DELETE", "/_lab/faults")


def changes(cloud: Rehearsal) -> dict[str, int]:
    """How often the cloud was asked to change something, since the counts were cleared."""
    counts = cloud.api("GET", "/_lab/requests")
    counts = counts.get("requests", counts)
    return {what: number for what, number in counts.items() if what.startswith(MUTATING) and "/v1/" in what}


def servers(cloud: Rehearsal) -> list[dict[str, Any]]:
    """The servers as the cloud describes them."""
    found: list[dict[str, Any]] = cloud.api("GET", "/v1/servers")["servers"]
    return found


def up(cloud: Rehearsal) -> str:
    """`pulumi up`, expected to fail; returns what it said."""
    done = cloud.pulumi("up", "--yes", "--skip-preview", check=False)
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "Traceback" not in said
    return said


def test_a_location_outside_the_eu_is_refused_before_anything_is_made(cloud: Rehearsal) -> None:
    cloud.api("DELETE", "/_lab/requests")
    with cloud.settings_changed("servers", _with_location(cloud, "primary", "ash")):
        said = up(cloud)
    assert "servers.primary.location: lies in the United States, outside the EU" in said
    assert changes(cloud) == {}


def test_every_mistake_is_shown_by_pulumi_too(cloud: Rehearsal) -> None:
    with cloud.settings_changed("ssh", {"port": 70000, "prot": 1}):
        said = up(cloud)
    assert "settings.ssh.port: must be at most 65535 (got 70000)" in said
    assert "settings.ssh.prot: is not a known key" in said


def test_a_wrong_token_makes_nothing(cloud: Rehearsal) -> None:
    before = cloud.file.read_bytes()
    cloud.api("DELETE", "/_lab/requests")
    cloud.pulumi("config", "set", "--secret", "hcloud:token", input="0" * 64)
    try:
        said = up(cloud)
    finally:
        cloud.file.write_bytes(before)
    assert "unauthorized" in said.lower() or "unable to authenticate" in said.lower()
    assert servers(cloud) == []


def test_a_missing_token_says_how_to_set_one(cloud: Rehearsal) -> None:
    before = cloud.file.read_bytes()
    cloud.pulumi("config", "rm", "hcloud:token")
    try:
        said = up(cloud)
    finally:
        cloud.file.write_bytes(before)
    assert "pulumi config set --secret hcloud:token" in said


def test_an_unavailable_cloud_is_named_and_nothing_is_lost(cloud: Rehearsal) -> None:
    with fault(cloud, method="POST", path="/v1/servers", status=503, code="unavailable", message="try later", count=9):
        said = up(cloud)
    assert "try later" in said or "unavailable" in said
    # what was made before the fault is in the state: nothing is made twice
    assert len(cloud.api("GET", "/v1/networks")["networks"]) == 1
    assert len(cloud.api("GET", "/v1/primary_ips")["primary_ips"]) == 6


def test_a_killed_up_is_completed_by_the_next(cloud: Rehearsal) -> None:
    """kill -9 between the provider's answer and the engine's record: servers that the state does not know."""
    cloud.api("DELETE", "/_lab/requests")
    words = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", cloud.stack]
    env = {**os.environ, **cloud.env}
    process = subprocess.Popen(words, cwd=cloud.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: changes(cloud).get("POST /v1/servers", 0) > 0, "a server was asked for", seconds=60)
    finally:
        kill_tree(process.pid)  # the engine with its plugins, as a machine that loses its power
        process.wait(timeout=30)
    done = cloud.make("infra")
    assert "its lock is given up" in done.stdout
    assert {server["name"] for server in servers(cloud)} == {"primary", "standby", "witness"}
    cloud.pulumi("preview", "--expect-no-changes")


def test_a_server_that_vanished_and_does_not_come_up_is_named(cloud: Rehearsal) -> None:
    """Somebody deleted it at the console; its successor fails to start, while the provider is slow and limits rates."""
    (standby,) = [server for server in servers(cloud) if server["name"] == "standby"]
    cloud.api("POST", f"/v1/servers/{standby['id']}/actions/change_protection", {"delete": False, "rebuild": False})
    cloud.api("DELETE", f"/v1/servers/{standby['id']}")
    wait_for(lambda: len(servers(cloud)) == 2, "the server is gone")
    with (
        fault(cloud, machine_does_not_boot="standby"),
        fault(cloud, method="GET", path="/v1/server_types*", status=429, code="rate_limit_exceeded", count=2),
        fault(cloud, method="GET", path="/v1/images*", delay_ms=3000, count=1),
    ):
        done = cloud.make("infra", check=False)
    assert not done.ok
    assert "standby is gone from the provider" in done.stdout
    assert "Diagnostics:" in done.stdout
    assert "standby" in done.stdout.split("Diagnostics:")[-1]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_half_made_server_is_completed_by_the_next_run(cloud: Rehearsal) -> None:
    """Switched on, and given the private address that it had missed: `pulumi up` alone would not see either."""
    cloud.make("infra")
    (standby,) = [server for server in servers(cloud) if server["name"] == "standby"]
    assert standby["status"] == "running"
    assert [item["ip"] for item in standby["private_net"]] == ["10.20.0.12"]
    cloud.pulumi("preview", "--expect-no-changes")


def test_image_keys_and_user_data_replace_no_server(cloud: Rehearsal) -> None:
    ids = {server["name"]: server["id"] for server in servers(cloud)}
    wanted = _with_location(cloud, "primary", "fsn1")
    wanted["primary"]["generation"] = 2  # another bootstrap host key: other user_data
    with cloud.settings_changed("servers", wanted):
        done = cloud.pulumi("preview", "--diff", check=False)
    assert done.ok, done.stdout + done.stderr
    assert "replace" not in done.stdout
    assert {server["name"]: server["id"] for server in servers(cloud)} == ids


def test_destroy_refuses_and_says_how_to_lift_it(cloud: Rehearsal) -> None:
    done = cloud.make("destroy", check=False)
    assert not done.ok
    assert "protection: false" in done.stderr
    bare = cloud.pulumi("destroy", "--yes", "--skip-preview", check=False)
    assert not bare.ok
    assert "protect" in bare.stdout + bare.stderr
    assert len(servers(cloud)) == 3


def _with_location(cloud: Rehearsal, name: str, location: str) -> dict[str, dict[str, object]]:
    from bastide.stackfile import load

    section = load(cloud.file)["config"]["bastide:settings"]["servers"]
    plain = {key: dict(value) for key, value in section.items()}
    plain[name]["location"] = location
    return plain
