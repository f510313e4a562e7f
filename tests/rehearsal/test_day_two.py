"""plan, drift, status and doctor: exit codes that scripts can trust, and nothing is changed by looking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bastide.console import Completed, run
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "flow"


def hosts(rehearsal: Rehearsal, *words: str) -> Completed:
    line = ["python", "-m", "hosts", *words, "--stack", rehearsal.stack]
    return run(line, cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=180)


def report(rehearsal: Rehearsal, kind: str) -> tuple[int, Any]:
    done = hosts(rehearsal, kind, "--json")
    return done.returncode, json.loads(done.stdout)


def firewall(rehearsal: Rehearsal) -> dict[str, Any]:
    (found,) = rehearsal.api("GET", "/v1/firewalls")["firewalls"]
    result: dict[str, Any] = found
    return result


def state(rehearsal: Rehearsal) -> tuple[str, str]:
    records = rehearsal.root / "stacks" / f"{rehearsal.stack}.known_hosts"
    return rehearsal.pulumi("stack", "export").stdout, records.read_text()


def test_nothing_differs_after_up(rehearsal: Rehearsal) -> None:
    before = state(rehearsal)
    plan, drift = hosts(rehearsal, "plan"), hosts(rehearsal, "drift")
    assert (plan.returncode, drift.returncode) == (0, 0), plan.stdout + drift.stdout + plan.stderr + drift.stderr
    assert plan.stdout.splitlines()[-1] == "plan: nothing differs"
    assert drift.stdout.splitlines()[-1] == "drift: nothing differs"
    assert state(rehearsal) == before


def test_a_changed_setting_is_shown_file_by_file_and_not_done(rehearsal: Rehearsal) -> None:
    with rehearsal.settings_changed("base.journal.max_use_mb", 400):
        done = hosts(rehearsal, "plan")
        code, data = report(rehearsal, "plan")
    assert (done.returncode, code) == (2, 2)
    assert "+SystemMaxUse=400M" in done.stdout
    assert "next: `make deploy stack=rehearsal`" in done.stdout.splitlines()[-1]
    assert {machine["name"]: machine["operations"] for machine in data["machines"]} == {
        name: ["base | limits of the journal"] for name in ("primary", "standby", "witness")
    }
    assert hosts(rehearsal, "plan").returncode == 0


def test_a_changed_cloud_firewall_is_planned(rehearsal: Rehearsal) -> None:
    wanted = [{"port": 8443, "protocol": "tcp", "reason": "rehearsal"}]
    with rehearsal.settings_changed("firewall.public", wanted):
        code, data = report(rehearsal, "plan")
    assert code == 2
    (change,) = data["resources"]
    assert (change["op"], change["kind"]) == ("update", "Firewall")
    assert any("8443" in line for line in change["diff"])


def test_a_server_that_is_planned_is_not_reached(rehearsal: Rehearsal) -> None:
    before = state(rehearsal)
    another = {"role": "standby", "location": "hel1", "private_address": "10.20.0.14"}
    servers = {machine.name: _server(rehearsal, machine.name) for machine in rehearsal.inventory()}
    with rehearsal.settings_changed("servers", {**servers, "third": another}):
        done = hosts(rehearsal, "plan")
    assert done.returncode == 2, done.stderr
    assert "+ create Server third" in done.stdout
    assert "comes after `make infra stack=rehearsal`" in done.stdout
    assert state(rehearsal) == before


def test_a_mistake_ends_with_1_and_two_lines(rehearsal: Rehearsal) -> None:
    with rehearsal.settings_changed("ssh.port", 70000):
        done = hosts(rehearsal, "plan")
    assert done.returncode == 1
    assert "must be at most 65535" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full("drift")
def test_what_somebody_changed_at_the_console_and_on_a_machine_is_drift(rehearsal: Rehearsal) -> None:
    rules = firewall(rehearsal)["rules"]
    extra = {"direction": "in", "protocol": "tcp", "port": "3306", "source_ips": ["0.0.0.0/0"]}
    path = f"/v1/firewalls/{firewall(rehearsal)['id']}/actions/set_rules"
    rehearsal.api("POST", path, {"rules": [*rules, extra]})
    rehearsal.exec("standby", "echo 'SystemMaxUse=9G' >>/etc/systemd/journald.conf.d/bastide.conf")
    before = state(rehearsal)
    assert hosts(rehearsal, "plan").returncode == 2  # the machine; Pulumi by itself asks the provider nothing
    code, data = report(rehearsal, "drift")
    assert code == 2
    assert [(change["op"], change["kind"]) for change in data["resources"]] == [("update", "Firewall")]
    changed = {machine["name"]: machine["operations"] for machine in data["machines"] if machine["operations"]}
    assert changed == {"standby": ["base | limits of the journal"]}
    assert state(rehearsal) == before

    rehearsal.pulumi("up", "--yes", "--skip-preview", "--refresh")
    rehearsal.make("deploy")
    assert hosts(rehearsal, "drift").returncode == 0
    assert len(firewall(rehearsal)["rules"]) == len(rules)


@pytest.mark.full("drift")
def test_a_machine_that_is_off_is_drift_and_stands_in_the_status(rehearsal: Rehearsal) -> None:
    rehearsal.lab("crash", "witness")
    try:
        code, data = report(rehearsal, "drift")
        status = hosts(rehearsal, "status")
        plan = hosts(rehearsal, "plan")
    finally:
        rehearsal.make("infra")
    assert code == 2
    (witness,) = [machine for machine in data["machines"] if machine["name"] == "witness"]
    assert witness["state"] == "off"
    assert status.returncode == 2
    (line,) = [line for line in status.stdout.splitlines() if "witness" in line]
    assert line.startswith("✗")
    assert "next:" in line
    assert plan.returncode == 1
    wait_for(lambda: rehearsal.ssh("witness", "true").ok, "the witness is back", seconds=60)
    assert hosts(rehearsal, "drift").returncode == 0


def test_the_status_names_what_is_not_well(rehearsal: Rehearsal) -> None:
    well = hosts(rehearsal, "status")
    # the clone may have commits or changes that were not deployed: the machines must say nothing else
    assert all("up " in line for line in well.stdout.splitlines() if "(primary," in line)
    rehearsal.exec("primary", "touch /run/reboot-required; systemd-run --quiet --unit=broken false || true; sleep 0.5")
    try:
        done = hosts(rehearsal, "status")
    finally:
        rehearsal.exec("primary", "rm /run/reboot-required; systemctl reset-failed broken")
    (line,) = [line for line in done.stdout.splitlines() if "primary (primary" in line]
    assert "failed: broken.service" in line
    assert "a reboot is pending" in line
    assert done.returncode == 2


def test_the_status_needs_no_passphrase(rehearsal: Rehearsal) -> None:
    bare = {key: value for key, value in rehearsal.env.items() if not key.startswith("PULUMI_")}
    line = ["python", "-m", "hosts", "status", "--stack", rehearsal.stack]
    done = run(line, cwd=rehearsal.root, env=bare, check=False, timeout=60)
    assert "primary (primary, fsn1): up" in done.stdout, done.stderr


def test_the_doctor_finds_a_well_stack_well_and_each_complaint_has_a_next_step(rehearsal: Rehearsal) -> None:
    assert hosts(rehearsal, "doctor").returncode == 0
    passphrase = rehearsal.build / "passphrase"
    right = passphrase.read_bytes()
    passphrase.write_text("another\n")
    try:
        done = hosts(rehearsal, "doctor")
    finally:
        passphrase.write_bytes(right)
    assert done.returncode == 1
    complaints = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert complaints
    assert all("; next: " in line for line in complaints)


def _server(rehearsal: Rehearsal, name: str) -> dict[str, Any]:
    from bastide.stackfile import load

    return dict(load(rehearsal.file)["config"]["bastide:settings"]["servers"][name])
