"""The lab's machines, for real: what boots, what is in it, and its power. Needs root; touches its own lab only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import time
from functools import partial

import pytest

from lab import inside
from lab.machines import disk
from lab.machines.seed import first_address
from lab.machines.store import by_name
from tests.lab.bench import (
    ALPHA,
    NEEDS_ROOT,
    SCALE,
    Bench,
    ssh,
    ssh_answers,
    wait_for,
)

LAB = "lab"
pytestmark = NEEDS_ROOT


def test_ssh_answers_over_both_families_as_the_operator(bench: Bench) -> None:
    spec = bench.specs[ALPHA]
    for address, office in ((spec.public4, "198.51.100.10"), (first_address(spec.public6), "2001:db8:ffff::10")):
        wait_for(f"ssh at {address}", partial(ssh_answers, address))
        done = ssh(bench, address, "echo $SSH_CLIENT", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        assert done.stdout.split()[0] == office


def test_the_prober_shows_the_host_key_that_was_promised(bench: Bench) -> None:
    told = bench.info["prober"]
    known = bench.info_file.with_name("known_hosts")
    known.write_text(f"{told['address']} {told['host_key']}\n{told['address6']} {told['host_key']}\n")
    for address in (told["address"], told["address6"]):
        done = ssh(bench, address, "nmap --version", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
        assert done.stdout.startswith("Nmap")


def test_the_machine_is_a_healthy_debian_13(bench: Bench) -> None:
    for name in ("alpha", "beta"):
        done = bench.lab.execute(name, ["systemctl", "is-system-running", "--wait"], check=False)
        failed = bench.lab.execute(name, ["systemctl", "--failed", "--plain", "--no-legend"]).stdout
        assert done.stdout.strip() == "running", failed
        assert bench.lab.execute(name, ["hostname"]).stdout.strip() == name
        assert bench.lab.execute(name, ["cat", "/etc/told"]).stdout == f"told {name}"
    assert "VERSION_CODENAME=trixie" in bench.lab.execute("alpha", ["cat", "/etc/os-release"]).stdout
    assert bench.lab.execute("alpha", ["cloud-init", "status"]).stdout.strip() == "status: done"
    assert bench.lab.execute("alpha", ["passwd", "--status", "root"]).stdout.split()[1] == "L"


@pytest.mark.skipif(not disk.has_loop(), reason="without loop devices the machines share the host's disk")
def test_the_disk_is_as_large_as_ordered(bench: Bench) -> None:
    done = bench.lab.execute("alpha", ["fallocate", "-l", "2G", "/root/too-much"], check=False)
    assert "No space left" in done.stderr
    bench.lab.execute("alpha", ["rm", "-f", "/root/too-much"])


def test_exec_passes_input_output_and_exit_code(bench: Bench) -> None:
    assert bench.lab.execute("alpha", ["cat"], input="hello").stdout == "hello"
    assert bench.lab.execute("alpha", ["sh", "-c", "exit 7"], check=False).returncode == 7
    environment = bench.lab.execute("alpha", ["env"]).stdout
    assert {line.split("=")[0] for line in environment.splitlines()} <= {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TERM",
    }


def test_no_key_of_the_lab_lies_in_a_machine(bench: Bench) -> None:
    keys = bench.lab.execute("alpha", ["cat", "/root/.ssh/authorized_keys"]).stdout
    assert keys.strip() == bench.specs[ALPHA].ssh_keys[0]
    assert not bench.lab.execute("beta", ["test", "-s", "/root/.ssh/authorized_keys"], check=False).ok
    digest = hashlib.sha256(bench.token.encode()).hexdigest()
    for secret in (bench.token, digest):
        found = bench.lab.execute("beta", ["grep", "-rlF", secret, "/etc", "/root", "/var", "/run"], check=False)
        assert found.stdout == ""


def test_packages_can_be_had(bench: Bench) -> None:
    done = bench.lab.execute("alpha", ["apt-get", "-qq", "update"], timeout=60)
    assert "Err" not in done.stdout + done.stderr
    assert bench.lab.execute("alpha", ["apt-get", "-qq", "--print-uris", "install", "nginx-light"]).stdout
    # and nothing else has a name
    assert not bench.lab.execute("alpha", ["getent", "hosts", "example.com"], check=False).ok


@pytest.mark.alone
def test_power_cut_is_a_cut(bench: Bench) -> None:
    spec, before_cut = bench.specs[ALPHA], bench.boot_id("alpha")
    with socket.create_connection((spec.public4, 22), timeout=2) as connection:
        assert connection.recv(4) == b"SSH-"
        began = time.monotonic()
        bench.lab.crash("alpha")
        took = time.monotonic() - began
        connection.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while connection.recv(100):
                pass
            pytest.fail("the dead machine closed its connection")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert took < 2 * SCALE
    assert bench.driver.power_state(ALPHA) == "off"
    assert not ssh_answers(spec.public4)
    bench.lab.start("alpha")
    wait_for("ssh after the cut", lambda: ssh_answers(spec.public4))
    assert bench.boot_id("alpha") not in ("", before_cut)
    wait_for("the private network", lambda: bench.reach("alpha", ("10.77.0.102", 22)))


def test_reboot_is_a_fresh_boot(bench: Bench) -> None:
    before_boot = bench.boot_id("alpha")
    bench.lab.execute("alpha", ["nft", "add", "table", "inet", "marker"])
    bench.lab.execute("alpha", ["sysctl", "-qw", "net.ipv4.conf.all.log_martians=1"])
    bench.lab.execute("alpha", ["sh", "-c", "echo kept >/root/kept; sync"])
    bench.lab.reboot("alpha")
    wait_for("a new boot", lambda: bench.boot_id("alpha") not in ("", before_boot))
    wait_for("ssh after the reboot", lambda: ssh_answers(bench.specs[ALPHA].public4))
    assert bench.lab.execute("alpha", ["nft", "list", "tables"]).stdout.strip() == ""
    assert bench.lab.execute("alpha", ["sysctl", "-n", "net.ipv4.conf.all.log_martians"]).stdout.strip() == "0"
    assert bench.lab.execute("alpha", ["cat", "/root/kept"]).stdout == "kept\n"
    wait_for("the private network", lambda: bench.reach("alpha", ("10.77.0.102", 22)))


def test_a_visitor_keeps_no_machine_from_going_down(bench: Bench) -> None:
    """It is stopped and ended with everything else in there; who waits for it outside has to bury it."""
    before_boot = bench.boot_id("alpha")
    words = inside.command(by_name(bench.place, "alpha"), ["sleep", "600"])
    with subprocess.Popen(words, start_new_session=True) as visitor:
        try:
            wait_for("the visitor", lambda: "sleep 600" in bench.lab.execute("alpha", ["ps", "-eo", "args"]).stdout)
            bench.lab.execute("alpha", ["systemctl", "reboot"], check=False)
            wait_for("a new boot", lambda: bench.boot_id("alpha") not in ("", before_boot), 60)
            assert visitor.wait(timeout=5) != 0
        finally:
            # a stopped one minds no other signal
            with contextlib.suppress(ProcessLookupError):
                os.killpg(visitor.pid, signal.SIGKILL)
    wait_for("ssh after the reboot", lambda: ssh_answers(bench.specs[ALPHA].public4))
    wait_for("the private network", lambda: bench.reach("alpha", ("10.77.0.102", 22)))
