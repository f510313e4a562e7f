"""Changes that would lock everyone out roll back by themselves and say so; what is not fit stops before a change."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from lab.machines import disk
from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "flow"

ELSEWHERE = ["203.0.113.1/32"]
PROFILE, STACKS = "/usr/share/pam-configs/zz-nobody", "cat /etc/pam.d/common-* /var/lib/pam/seen"
# without the comment that pam-auth-update(8) knows its lines by
HAND_MADE = "cp -p /etc/pam.d/common-auth /run && sed -i '/per-package/d; /faillock/d' /etc/pam.d/common-auth"


def test_the_cloud_firewall_may_not_shut_out_its_operator(rehearsal: Rehearsal) -> None:
    with rehearsal.settings_changed("firewall.operators", ELSEWHERE):
        done = rehearsal.make("infra", check=False)
    assert not done.ok
    assert "this would shut you out: you come from 198.51.100.10" in done.stderr
    assert rehearsal.ssh("primary", "true").ok


def test_a_host_firewall_that_shuts_the_operator_out_rolls_back(rehearsal: Rehearsal) -> None:
    before = rehearsal.exec("witness", "nft list table inet bastide").stdout
    with rehearsal.settings_changed("firewall.operators", ELSEWHERE):
        done = rehearsal.deploy("--limit", "witness", "--data", "only=firewall", check=False)
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "rolled back" in said or "is back" in said, said
    assert "Traceback" not in said
    assert rehearsal.ssh("witness", "true").ok
    assert _without_counters(rehearsal.exec("witness", "nft list table inet bastide").stdout) == _without_counters(
        before
    )
    assert rehearsal.dry("--limit", "witness") == {}


def test_a_pam_that_lets_nobody_in_rolls_back(rehearsal: Rehearsal) -> None:
    """A profile that somebody laid down and never took up comes with the next change, and refuses every account."""
    before = rehearsal.exec("witness", STACKS).stdout
    lines = ("Name: nobody", "Default: yes", "Priority: 2000", "Account-Type: Primary", "Account:")
    text = "\\n".join((*lines, "\\trequisite pam_deny.so"))
    rehearsal.exec("witness", f"printf '{text}\\n' > {PROFILE}")
    try:
        with rehearsal.settings_changed("accounts.password_tries", 4):
            done = rehearsal.deploy("--limit", "witness", "--data", "only=accounts", check=False)
    finally:
        rehearsal.exec("witness", f"rm {PROFILE}")
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "is back" in said, said
    assert "Traceback" not in said
    assert rehearsal.ssh("witness", "sudo -n true").ok
    assert rehearsal.exec("witness", STACKS).stdout == before
    assert rehearsal.dry("--limit", "witness") == {}


def test_a_pam_that_somebody_changed_by_hand_is_left_and_named(rehearsal: Rehearsal) -> None:
    rehearsal.exec("witness", HAND_MADE)
    before = rehearsal.exec("witness", STACKS).stdout
    try:
        done = rehearsal.deploy("--limit", "witness", "--data", "only=accounts", check=False)
        after = rehearsal.exec("witness", STACKS).stdout
    finally:
        rehearsal.exec("witness", "mv /run/common-auth /etc/pam.d/common-auth")
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "/etc/pam.d/common-auth has no line with 'required pam_faillock.so preauth'" in said, said
    assert "Traceback" not in said
    assert after == before
    assert rehearsal.dry("--limit", "witness") == {}


def test_an_ssh_setting_that_shuts_the_operator_out_rolls_back(rehearsal: Rehearsal) -> None:
    """The port is moved to one that no firewall opens, as when somebody forgets the firewall."""
    with rehearsal.settings_changed("ssh.port", 2222):
        done = rehearsal.deploy("--limit", "witness", "--data", "only=ssh", check=False)
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "rolled back" in said or "is back" in said, said
    assert "Traceback" not in said
    assert rehearsal.ssh("witness", "true").ok
    assert "port 22\n" in rehearsal.exec("witness", "sshd -T | grep ^port").stdout


@pytest.mark.skipif(not disk.has_loop(), reason="without loop devices this would fill the host's own disk")
def test_a_full_disk_stops_before_the_first_change(rehearsal: Rehearsal) -> None:
    rehearsal.exec("witness", "fallocate -l $(( $(df --output=avail -B1 / | tail -1) - 20000000 )) /var/fill || true")
    try:
        done = rehearsal.deploy(check=False)
    finally:
        rehearsal.exec("witness", "rm -f /var/fill")
    said = done.stdout + done.stderr
    assert not done.ok
    assert "witness" in said
    assert "MB free, at least" in said
    assert "Traceback" not in said


def test_a_deploy_that_was_killed_is_completed_by_the_next(rehearsal: Rehearsal) -> None:
    rehearsal.exec("witness", "timedatectl set-timezone Asia/Tokyo; rm -f /etc/ssh/sshd_config.d/00-bastide.conf")
    words = ["pyinfra", "-y", "hosts/inventory.py", "deploys/site.py", "--limit", "witness"]
    env = {**os.environ, **rehearsal.env}
    process = subprocess.Popen(words, cwd=rehearsal.root, env=env, stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)  # somewhere in the middle, on purpose anywhere
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    rehearsal.deploy("--limit", "witness")
    assert rehearsal.dry("--limit", "witness") == {}


def test_a_power_cut_leaves_everything_as_it_was_proven(rehearsal: Rehearsal) -> None:
    """Persistence: rules, host key and accounts come back with the machine."""
    rehearsal.lab("crash", "witness")
    rehearsal.lab("start", "witness")
    _wait_for_ssh(rehearsal, "witness")
    assert rehearsal.dry("--limit", "witness") == {}
    # it takes the leadership of etcd back, and while that moves the members say two things
    wait_for(lambda: Writers(rehearsal).etcd_leader() == "witness", "the witness leads etcd again", seconds=90)
    done = rehearsal.verify("--machine", "witness", check=False)
    assert done.ok, done.stdout


def test_a_machine_that_does_not_answer_is_named(rehearsal: Rehearsal) -> None:
    rehearsal.lab("crash", "witness")
    try:
        done = rehearsal.deploy("--limit", "witness", check=False)
    finally:
        rehearsal.lab("start", "witness")
        _wait_for_ssh(rehearsal, "witness")
    said = done.stdout + done.stderr
    assert not done.ok
    assert "witness" in said
    assert "Traceback" not in said


def test_another_host_key_is_refused(rehearsal: Rehearsal) -> None:
    """Somebody else answers at the address: not a byte is sent, and the record is not silently re-learned."""
    records = rehearsal.root / "stacks" / f"{rehearsal.stack}.known_hosts"
    before = records.read_text()
    rehearsal.exec(
        "witness", "cd /etc/ssh && cp -a ssh_host_ed25519_key /root/k && cp -a ssh_host_ed25519_key.pub /root/k.pub"
    )
    rehearsal.exec(
        "witness", "cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key"
    )
    rehearsal.exec("witness", "systemctl restart ssh")
    try:
        done = rehearsal.deploy("--limit", "witness", check=False)
        assert not rehearsal.ssh("witness", "true").ok
    finally:
        rehearsal.exec(
            "witness", "mv /root/k /etc/ssh/ssh_host_ed25519_key; mv /root/k.pub /etc/ssh/ssh_host_ed25519_key.pub"
        )
        rehearsal.exec("witness", "systemctl restart ssh")
    assert not done.ok
    assert "host key" in (done.stdout + done.stderr).lower()
    assert records.read_text() == before
    assert rehearsal.ssh("witness", "true").ok


@pytest.mark.parametrize("word", ["sssh", "ssh,nope"])
def test_an_unknown_capability_is_an_error_that_lists_the_known(rehearsal: Rehearsal, word: str) -> None:
    done = rehearsal.deploy("--data", f"only={word}", check=False)
    said = done.stdout + done.stderr
    assert not done.ok
    assert "firewall" in said
    assert "Traceback" not in said


def _without_counters(rules: str) -> list[str]:
    return [line.split("counter packets")[0] for line in rules.splitlines()]


def _wait_for_ssh(rehearsal: Rehearsal, machine: str) -> None:
    wait_for(lambda: rehearsal.ssh(machine, "true").ok, f"{machine} answers ssh")
