"""Volumes from the stack file to the mounted disk: nothing on one is lost with its server, by hand or by mistake."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bastide.console import Completed, run
from tests.rehearsal.conftest import fresh_stack
from tests.rehearsal.stack import Rehearsal, kill_tree, wait_for

LAB = "volumes"

STACK = "rehearsal-volumes"
POINT = "/srv/kept"
_DEPLOY = f"""\
from pyinfra.context import host
from deploys.operations.volumes import volume
volume(name="kept", name_="kept", device=host.data.machine.volume, path="{POINT}", mode=0o700, _sudo=True)
"""


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    """Machines with volumes, and nothing deployed."""
    for found in fresh_stack(STACK, keep=request.config.getoption("--keep")):
        found.make("lab")
        found.make("infra")
        yield found


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deploy of the one operation."""
    path = tmp_path_factory.mktemp("deploy") / "kept.py"
    path.write_text(_DEPLOY)
    return path


def volumes(stack: Rehearsal) -> dict[str, dict[str, Any]]:
    """The volumes as the cloud describes them, by the name of their server in the stack file."""
    found = stack.api("GET", "/v1/volumes")["volumes"]
    return {one["name"].removesuffix("-volume"): one for one in found}


def servers(stack: Rehearsal) -> dict[str, int]:
    return {one["name"]: one["id"] for one in stack.api("GET", "/v1/servers")["servers"]}


def silent(stack: Rehearsal) -> None:
    """A preview shows nothing, nor does one that has asked the provider."""
    for words in (("preview",), ("preview", "--refresh")):
        done = stack.pulumi(*words, "--expect-no-changes", check=False)
        assert done.ok, done.stdout[-3000:]


def mount(stack: Rehearsal, script: Path, *words: str, check: bool = True) -> Completed:
    argv = ["pyinfra", "-y", "--fail-percent", "0", *words, "hosts/inventory.py", str(script)]
    return run(argv, cwd=stack.root, env=stack.env, check=check, timeout=200)


def lift(stack: Rehearsal, path: str, value: bool) -> None:
    """Set a protection at the provider, by hand."""
    both = {"delete": value, **({"rebuild": value} if "servers" in path else {})}
    stack.api("POST", f"/v1/{path}/actions/change_protection", both)


def gone(stack: Rehearsal, name: str) -> None:
    """Somebody deletes the server at the console."""
    number = servers(stack)[name]
    lift(stack, f"servers/{number}", value=False)
    stack.api("DELETE", f"/v1/servers/{number}")
    wait_for(lambda: name not in servers(stack), f"{name} is gone")


def test_each_server_has_its_own_and_the_second_preview_is_empty(stack: Rehearsal) -> None:
    ours, there = servers(stack), volumes(stack)
    assert there.keys() == ours.keys()
    for name, one in there.items():
        assert (one["server"], one["size"], one["format"]) == (ours[name], 10, "ext4")
        assert one["protection"] == {"delete": True}
    machines = json.loads(stack.pulumi("stack", "output", "machines", "--json").stdout)
    assert {machine["name"]: machine["volume"] for machine in machines} == {
        name: one["linux_device"] for name, one in there.items()
    }
    silent(stack)


def test_it_is_mounted_once_and_at_each_boot(stack: Rehearsal, script: Path) -> None:
    mount(stack, script)
    for name in servers(stack):
        stack.exec(name, f"echo {name} > {POINT}/whose; sync {POINT}/whose")
        assert stack.exec(name, f"stat -c '%a %U' {POINT}; systemctl is-enabled srv-kept.mount").stdout.split() == [
            "700", "root", "enabled",
        ]  # fmt: skip
    assert stack.dry(deploy=str(script)) == {}
    stack.lab("crash", "standby")
    stack.lab("start", "standby")
    wait_for(lambda: stack.exec("standby", f"cat {POINT}/whose", check=False).stdout == "standby\n", "it")


def test_data_in_the_folder_is_not_hidden_and_a_lost_device_is_named(stack: Rehearsal, script: Path) -> None:
    stack.exec("witness", f"systemctl disable -q --now srv-kept.mount; echo important > {POINT}/mine")
    done = mount(stack, script, "--limit", "witness", check=False)
    assert not done.ok
    assert f"{POINT} holds data, which the volume would hide" in done.stdout + done.stderr
    assert stack.exec("witness", f"cat {POINT}/mine; rm {POINT}/mine").stdout == "important\n"
    mount(stack, script, "--limit", "witness")
    assert stack.exec("witness", f"cat {POINT}/whose").stdout == "witness\n"


def test_a_server_that_vanished_gets_its_volume_again(stack: Rehearsal, script: Path) -> None:
    before = volumes(stack)["standby"]["id"]
    gone(stack, "standby")
    assert volumes(stack)["standby"]["server"] is None
    done = stack.make("infra")
    assert "standby is gone from the provider; it is made again" in done.stdout
    there = volumes(stack)["standby"]
    assert (there["id"], there["server"]) == (before, servers(stack)["standby"])
    silent(stack)
    mount(stack, script, "--limit", "standby")
    assert stack.exec("standby", f"cat {POINT}/whose").stdout == "standby\n"


def test_one_that_was_detached_at_the_console_is_attached_again(stack: Rehearsal) -> None:
    stack.api("POST", f"/v1/volumes/{volumes(stack)['witness']['id']}/actions/detach")
    wait_for(lambda: volumes(stack)["witness"]["server"] is None, "it is out")
    done = stack.make("infra")
    assert "witness-volume: not attached to its server" in done.stdout
    assert volumes(stack)["witness"]["server"] == servers(stack)["witness"]
    silent(stack)


def test_a_server_that_is_replaced_on_purpose_keeps_its_volume(stack: Rehearsal, script: Path) -> None:
    """docs/how-to/lose-a-server.md, word by word."""
    before, old = volumes(stack)["witness"]["id"], servers(stack)["witness"]
    with stack.settings_changed("protection", value=False):
        stack.make("infra")
        urns = stack.pulumi("stack", "--show-urns").stdout.split()
        (urn,) = [word for word in urns if word.endswith("Server::witness")]
        stack.pulumi("destroy", "--yes", "--skip-preview", "--target-dependents", "--target", urn)
    there = volumes(stack)["witness"]
    assert (there["id"], there["server"]) == (before, None)
    assert len(volumes(stack)) == 3
    assert len(stack.api("GET", "/v1/primary_ips")["primary_ips"]) == 6
    stack.make("infra")
    assert servers(stack)["witness"] != old
    assert volumes(stack)["witness"]["server"] == servers(stack)["witness"]
    silent(stack)


def test_what_is_taken_out_of_the_stack_file_is_not_deleted(stack: Rehearsal) -> None:
    with stack.settings_changed("etcd.volume_gb", value=None):
        done = stack.make("infra", check=False)
    assert not done.ok
    assert "volume primary-volume" in done.stderr
    assert "protected, and no longer in the stack file" in done.stderr
    assert len(volumes(stack)) == 3


@pytest.mark.full("provider")
def test_a_killed_up_is_completed_by_the_next(stack: Rehearsal) -> None:
    """kill -9 of the engine while it makes and attaches volumes that its state does not know yet."""
    with stack.settings_changed("protection", value=False):
        stack.make("infra")
        with stack.settings_changed("etcd.volume_gb", value=None):
            stack.make("infra")
        assert volumes(stack) == {}
        for seconds in (0.0, 0.4):
            stack.api("DELETE", "/_lab/requests")
            words = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.stack]
            env = {**os.environ, **stack.env}
            process = subprocess.Popen(
                words, cwd=stack.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
            )
            try:
                wait_for(lambda: asked(stack).get("POST /v1/volumes", 0) > 0, "a volume was asked for", seconds=60)
                time.sleep(seconds)
            finally:
                kill_tree(process.pid)
                process.wait(timeout=30)
            stack.make("infra")
            assert {name: one["server"] for name, one in volumes(stack).items()} == servers(stack)
            silent(stack)
            with stack.settings_changed("etcd.volume_gb", value=None):
                stack.make("infra")
    stack.make("infra")
    silent(stack)


def test_it_grows_and_never_shrinks(stack: Rehearsal) -> None:
    with stack.settings_changed("etcd.volume_gb", value=12):
        stack.make("infra")
        assert {one["size"] for one in volumes(stack).values()} == {12}
        size = stack.exec("primary", f"blockdev --getsize64 {volumes(stack)['primary']['linux_device']}").stdout
        assert int(size) == 12 << 30
        silent(stack)
    done = stack.make("infra", check=False)
    assert not done.ok, "10 again"
    assert {one["size"] for one in volumes(stack).values()} == {12}


def test_what_is_on_it_grows_with_it(stack: Rehearsal, script: Path) -> None:
    """By the next deploy, while it is written to."""
    mount(stack, script)  # servers that were made again have theirs again
    for name in servers(stack):
        stack.exec(name, "apt-get -qq update && apt-get -qq -y install e2fsprogs >/dev/null")
        assert gigabytes(stack, name) < 13
    rights = stack.exec("primary", "sed -n 's/^CapEff:\t//p' /proc/self/status").stdout
    with stack.settings_changed("etcd.volume_gb", value=14):
        stack.make("infra")
        if not int(rights, 16) >> 24 & 1:
            # capabilities(7): CAP_SYS_RESOURCE, which linux asks for to grow a mounted ext4
            assert stack.dry(deploy=str(script)) == {}, "what cannot be done is not tried"
            pytest.skip("the host of this lab may grow no file system that is mounted")
        assert stack.dry(deploy=str(script)).keys() == servers(stack).keys(), "a plan says that there is more to use"
        stack.exec("primary", f"systemd-run -q --unit=writes sh -c 'while echo x; do sync; done >>{POINT}/written'")
        mount(stack, script)
        assert all(13 < gigabytes(stack, name) < 14 for name in servers(stack))
        stack.exec("primary", "systemctl -q is-active writes && systemctl stop writes")
        assert stack.dry(deploy=str(script)) == {}


def gigabytes(stack: Rehearsal, name: str) -> float:
    """The size of the file system as programs see it, less what it needs for itself."""
    return int(stack.exec(name, f"findmnt -bno SIZE {POINT}").stdout) / 2**30


def asked(stack: Rehearsal) -> dict[str, int]:
    counts: dict[str, int] = stack.api("GET", "/_lab/requests")["requests"]
    return counts
