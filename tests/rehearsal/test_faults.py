"""What goes wrong in the midst: operators at the same time, machines that die or are deleted, disks that are full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from bastide.console import run
from deploys import remote
from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.stack import Rehearsal, kill_tree, wait_for
from tests.rehearsal.test_provider import fault, servers

LAB = "database"

ANOTHER_SETTING = ("base.journal", {"max_use_mb": 400, "keep_days": 20})


def test_a_second_operator_is_told_who_deploys(rehearsal: Rehearsal) -> None:
    """The other one's ssh session holds the machine; when it is over, also by a kill, the next run goes on."""
    command = "sudo -n python3 -I -S - && sleep 300"
    with rehearsal.settings_changed(*ANOTHER_SETTING):
        with _session(rehearsal, "witness", command) as other:
            assert other.stdin is not None
            other.stdin.write(remote.call("hold", "hold", "bruno@desk").encode())
            other.stdin.close()
            wait_for(
                lambda: "bruno" in rehearsal.exec("witness", "cat /run/bastide-deploy.json || true").stdout,
                "the machine is held",
            )
            done = rehearsal.deploy(check=False)
            said = done.stdout + done.stderr
            assert not done.ok, said
            assert "bruno@desk deploys to it since" in said
            assert "next: wait until that is done" in said
            assert "Traceback" not in said
            # not one machine was changed, and looking at what would change is always free
            assert set(rehearsal.dry()["base | limits of the journal"]) == {"primary", "standby", "witness"}
        rehearsal.deploy()
    rehearsal.deploy()


def test_a_second_pulumi_up_is_told_who_holds_the_stack(rehearsal: Rehearsal) -> None:
    words = ["pulumi", "up", "--yes", "--skip-preview", "--refresh", "--non-interactive", "--stack", rehearsal.stack]
    with (
        fault(rehearsal, method="GET", path="/v1/servers/*", delay_ms=200_000, count=1),
        _started(rehearsal, words) as first,
    ):
        wait_for(lambda: any(rehearsal.build.rglob("locks/**/*.json")), "the first one has its lock")
        second = rehearsal.make("infra", check=False)
        assert first.poll() is None, "the first one was done before the second could meet it"
        rehearsal.api("DELETE", "/_lab/faults")  # the provider answers
        assert first.wait(timeout=120) == 0
    assert not second.ok
    assert f"another `pulumi up` holds the stack {rehearsal.stack} (process {first.pid} on" in second.stderr
    assert "next: wait for it" in second.stderr
    rehearsal.make("infra")


@pytest.mark.full("faults")
def test_a_machine_that_dies_in_a_deploy_stops_it_everywhere(rehearsal: Rehearsal) -> None:
    """--fail-percent 0: the others stop at the same operation, so that the machines are not changed by halves."""
    with rehearsal.settings_changed(*ANOTHER_SETTING):
        words = ["pyinfra", "-y", "--fail-percent", "0", "hosts/inventory.py", "deploys/site.py"]
        with _started(rehearsal, words) as deploy:
            assert deploy.stderr is not None
            said = _until(deploy.stderr, "Starting operation: base | limits of the journal")
            rehearsal.lab("crash", "witness")
            try:
                said += deploy.stderr.read().decode()
                assert deploy.wait(timeout=120) != 0
            finally:
                rehearsal.lab("start", "witness")
                wait_for(lambda: rehearsal.ssh("witness", "true").ok, "witness answers ssh")
        assert "[witness]" in said
        assert "Starting operation: revision" not in said, "the run went on without the witness"
        rehearsal.deploy()
        assert rehearsal.dry() == {}
    rehearsal.deploy()


@pytest.mark.full("faults")
def test_a_destroyed_server_is_made_again_by_one_up_and_one_deploy(rehearsal: Rehearsal) -> None:
    """Somebody lifted its protection at the console and deleted it, while settings.protection is true.

    Its voter and its copy of the database are back too, without hands.
    """
    writers = Writers(rehearsal)
    writers.switchover("primary")
    (lost,) = [server for server in servers(rehearsal) if server["name"] == "standby"]
    unprotected = {"delete": False, "rebuild": False}
    rehearsal.api("POST", f"/v1/servers/{lost['id']}/actions/change_protection", unprotected)
    rehearsal.api("DELETE", f"/v1/servers/{lost['id']}")
    wait_for(lambda: len(servers(rehearsal)) == 2, "the server is gone")
    rehearsal.pulumi("up", "--yes", "--skip-preview", "--refresh")
    done = rehearsal.deploy(timeout=600)
    assert "standby" in done.stdout + done.stderr
    writers.healed()
    assert writers.leader() == "primary"
    rehearsal.make("inventory")
    (found,) = [machine for machine in rehearsal.inventory() if machine.name == "standby"]
    assert found.id != str(lost["id"])
    assert found.address == lost["public_net"]["ipv4"]["ip"]  # primary addresses outlive their server
    rehearsal.pulumi("preview", "--expect-no-changes")
    assert rehearsal.dry() == {}
    verified = rehearsal.verify("--machine", "standby", check=False)
    assert verified.ok, verified.stdout[-2000:]


def test_a_failing_action_is_named_and_the_next_up_completes_it(rehearsal: Rehearsal) -> None:
    """The provider takes the order and does not carry it out, while it limits rates: the old rules still hold."""
    with rehearsal.settings_changed("firewall.public", [{"port": 443, "protocol": "tcp", "reason": "web"}]):
        with (
            fault(rehearsal, action="set_firewall_rules", message="no room for rules", count=1),
            fault(rehearsal, method="GET", path="/v1/actions*", status=429, code="rate_limit_exceeded", count=2),
        ):
            done = rehearsal.make("infra", check=False)
        said = done.stdout + done.stderr
        assert not done.ok, said
        assert "no room for rules" in said
        assert "Traceback" not in said
        rehearsal.make("infra")
        rehearsal.pulumi("preview", "--refresh", "--expect-no-changes")
        assert "443" in _open_ports(rehearsal)
    rehearsal.make("infra")
    assert "443" not in _open_ports(rehearsal)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system over build/, which needs root")
def test_a_full_disk_here_loses_nothing(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """State, records and evidence are written whole or not at all: what was there is there when there is room again."""
    before = rehearsal.pulumi("stack", "export").stdout
    # a mount namespace of its own: nobody else sees the small disk, and it ends with the command
    # -e: nothing is filled unless it is the small disk; without the sockets of ssh, which come and go
    script = (
        'set -e; size=$(du -sk "$1" | cut -f1); cp -a "$1/." "$2"; rm -rf "$2/ssh"; mkdir -m 700 "$2/ssh"; '
        'mount -t tmpfs -o size=$((size + 600))k full "$1"; cp -a "$2/." "$1"; '
        '{ cat /dev/zero > "$1/fill"; } 2>/dev/null || true; shift 2; exec "$@"'
    )
    for machine in rehearsal.inventory():
        # a connection that lives on would hold a socket that cannot be copied
        run(["ssh", "-F", str(rehearsal.build / "ssh_config"), "-O", "exit", machine.name], check=False)
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(rehearsal.build), str(tmp_path)]
    with rehearsal.settings_changed("firewall.public", [{"port": 443, "protocol": "tcp", "reason": "web"}]):
        up = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", rehearsal.stack]
        done = run([*words, *up], cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=120)
        said = done.stdout + done.stderr
        assert not done.ok, said
        assert "no space left on device" in said.lower(), said
        written = run(
            [*words, "python", "-m", "hosts", "inventory", "--stack", rehearsal.stack],
            cwd=rehearsal.root,
            env=rehearsal.env,
            check=False,
            timeout=60,
        )
        assert not written.ok
        assert "Traceback" not in written.stdout + written.stderr, written.stderr
        assert "No space left on device" in written.stderr
    shutil.rmtree(tmp_path)  # it held keys and the passphrase
    assert json.loads(rehearsal.pulumi("stack", "export").stdout) == json.loads(before)
    rehearsal.make("infra")
    rehearsal.pulumi("preview", "--expect-no-changes")


def _open_ports(rehearsal: Rehearsal) -> set[str]:
    """The ports that the provider's firewall lets in."""
    firewalls = rehearsal.api("GET", "/v1/firewalls")["firewalls"]
    return {str(rule["port"]) for firewall in firewalls for rule in firewall["rules"]}


@contextmanager
def _started(rehearsal: Rehearsal, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command at work; what still runs at the end of the block is killed with all that it started."""
    env = {**os.environ, **rehearsal.env}
    process = subprocess.Popen(words, cwd=rehearsal.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_tree(process.pid)
            process.wait(timeout=10)


def _until(stream: IO[bytes], sign: str) -> str:
    """Read lines until one has the sign. Raises `AssertionError` when the stream ends without it."""
    said = ""
    while line := stream.readline().decode():
        said += line
        if sign in line:
            return said
    raise AssertionError(f"never said: {sign}\n{said}")


@contextmanager
def _session(rehearsal: Rehearsal, machine: str, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """An ssh session of the automation account that runs a command, killed at the end of the block."""
    words = ["ssh", "-F", str(rehearsal.build / "ssh_config"), "-o", "ControlPath=none", machine, command]
    env = {**os.environ, **rehearsal.env}
    process = subprocess.Popen(words, cwd=rehearsal.root, env=env, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        kill_tree(process.pid)
        process.wait(timeout=10)
