"""What goes wrong at the provider: each fault ends in a clear sentence, nothing is lost, and the next run completes.

These run in the empty local cloud, before `make up`; what they leave half-made, `make up` completes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.rehearsal.stack import Rehearsal

MUTATING = ("POST", "PUT", "DELETE")


@pytest.fixture(scope="module")
def cloud(fresh: Rehearsal) -> Iterator[Rehearsal]:
    """The local cloud and the stack, with nothing in it."""
    fresh.make("lab")
    yield fresh
    fresh.api("DELETE", "/lab/faults")


@contextmanager
def fault(cloud: Rehearsal, **what: object) -> Iterator[None]:
    """The cloud misbehaves like that, once or as often as said, until the end of the block."""
    cloud.api("POST", "/lab/faults", what)
    try:
        yield
    finally:
        cloud.api("DELETE", "/lab/faults")


def changes(cloud: Rehearsal) -> dict[str, int]:
    """How often the cloud was asked to change something, since the counts were cleared."""
    counts = cloud.api("GET", "/lab/requests")
    counts = counts.get("requests", counts)
    return {what: number for what, number in counts.items() if what.startswith(MUTATING) and "/v1/" in what}


def up(cloud: Rehearsal) -> str:
    """`pulumi up`, expected to fail; returns what it said."""
    done = cloud.pulumi("up", "--yes", "--skip-preview", check=False)
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "Traceback" not in said
    return said


def test_a_location_outside_the_eu_is_refused_before_anything_is_made(cloud: Rehearsal) -> None:
    cloud.api("DELETE", "/lab/requests")
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
    cloud.api("DELETE", "/lab/requests")
    cloud.pulumi("config", "set", "--secret", "hcloud:token", input="0" * 64)
    try:
        said = up(cloud)
    finally:
        cloud.file.write_bytes(before)
    assert "unauthorized" in said.lower() or "unable to authenticate" in said.lower()
    assert cloud.api("GET", "/v1/servers")["servers"] == []


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


def test_a_machine_that_does_not_come_up_fails_with_its_name(cloud: Rehearsal) -> None:
    with fault(cloud, machine_does_not_boot="standby", count=9):
        said = up(cloud)
    assert "standby" in said


def test_rate_limits_and_slow_answers_are_lived_through(cloud: Rehearsal) -> None:
    with (
        fault(cloud, method="GET", path="/v1/server_types*", status=429, code="rate_limit_exceeded", count=2),
        fault(cloud, method="GET", path="/v1/images*", delay_ms=3000, count=1),
    ):
        done = cloud.pulumi("up", "--yes", "--skip-preview", check=False)
    assert done.ok, done.stdout + done.stderr
    assert {server["name"] for server in cloud.api("GET", "/v1/servers")["servers"]} == {
        "primary",
        "standby",
        "witness",
    }


def test_image_keys_and_user_data_replace_no_server(cloud: Rehearsal) -> None:
    ids = {server["name"]: server["id"] for server in cloud.api("GET", "/v1/servers")["servers"]}
    servers = _with_location(cloud, "primary", "fsn1")
    servers["primary"]["generation"] = 2  # another bootstrap host key: other user_data
    with cloud.settings_changed("servers", servers):
        done = cloud.pulumi("preview", "--diff", check=False)
    assert done.ok, done.stdout + done.stderr
    assert "replace" not in done.stdout
    assert {server["name"]: server["id"] for server in cloud.api("GET", "/v1/servers")["servers"]} == ids


def test_destroy_refuses_and_says_how_to_lift_it(cloud: Rehearsal) -> None:
    done = cloud.make("destroy", check=False)
    assert not done.ok
    assert "protection: false" in done.stderr
    bare = cloud.pulumi("destroy", "--yes", "--skip-preview", check=False)
    assert not bare.ok
    assert "protect" in bare.stdout + bare.stderr
    assert len(cloud.api("GET", "/v1/servers")["servers"]) == 3


def _with_location(cloud: Rehearsal, name: str, location: str) -> dict[str, dict[str, object]]:
    from bastide.stackfile import load

    servers = load(cloud.file)["config"]["bastide:settings"]["servers"]
    plain = {key: dict(value) for key, value in servers.items()}
    plain[name]["location"] = location
    return plain
