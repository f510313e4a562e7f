"""Upgrades that nobody asked for, from archives that are checked; reboots that wait for peers, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"

MACHINE = "witness"
LOG = "journalctl -q -o cat -t bastide-updates --since=@{since}"
REBOOT = "systemctl start bastide-reboot.service"
# what Debian's timers start, without waiting for their hours
UPGRADE = "systemctl start apt-daily.service && systemctl start apt-daily-upgrade.service"
# longer than the program looks at its peers (30 s), a boot and a check
SECONDS = 90


@pytest.fixture(scope="module")
def archive(rehearsal: Rehearsal) -> Iterator[dict[str, Any]]:
    """The lab's archive as a source of the stack, with the first version of its package installed on one machine."""
    told: dict[str, Any] = json.loads((rehearsal.build / "lab.json").read_text())["parties"]["archive"]
    source = {
        "url": told["url"],
        "suite": told["suite"],
        "components": [told["component"]],
        "key": told["key"],
        "upgrade": True,
    }
    rehearsal.lab("archive", "publish", "1.0")
    with rehearsal.settings_changed("updates.sources", {"canary": source}):
        rehearsal.deploy("--data", "only=updates")
        rehearsal.exec(MACHINE, f"apt-get -qq update && apt-get -qq -y install {told['package']} >/dev/null")
        yield told
    rehearsal.exec(MACHINE, f"apt-get -qq -y purge {told['package']} >/dev/null")
    rehearsal.lab("archive", "publish", "1.0")
    rehearsal.deploy("--data", "only=updates")


@pytest.fixture
def since(rehearsal: Rehearsal) -> int:
    """Now, on the machines (they share one clock): what is logged later belongs to this test."""
    return int(rehearsal.exec(MACHINE, "date +%s").stdout)


@pytest.mark.parametrize("signer", ["stranger", "nobody"])
def test_what_the_archive_has_not_signed_is_refused(rehearsal: Rehearsal, archive: dict[str, Any], signer: str) -> None:
    rehearsal.lab("archive", "publish", "1.1", "--signed-by", signer)
    assert rehearsal.exec(
        MACHINE, f"{UPGRADE}; apt-get update 2>&1 | grep -iE 'no longer signed|not signed|signature'"
    ).ok
    assert _version(rehearsal, archive) == "1.0"
    rehearsal.exec(MACHINE, f"! apt-get -qq -y install {archive['package']}=1.1 2>/dev/null")
    rehearsal.lab("archive", "publish", "1.0")


def test_an_older_package_is_upgraded_without_being_asked(rehearsal: Rehearsal, archive: dict[str, Any]) -> None:
    assert _version(rehearsal, archive) == "1.0"
    rehearsal.lab("archive", "publish", "1.1")
    # the deploy installs no upgrade, and the list that says of it is fetched by the timer
    rehearsal.exec(MACHINE, "systemctl start apt-daily.service")
    rehearsal.deploy("--data", "only=updates", "--limit", MACHINE)
    assert _version(rehearsal, archive) == "1.0"
    assert archive["package"] in _pending(rehearsal)["packages"]
    rehearsal.exec(MACHINE, UPGRADE)
    assert _version(rehearsal, archive) == "1.1"
    assert rehearsal.exec(MACHINE, f"cat /usr/share/{archive['package']}/version").stdout == "1.1\n"
    assert archive["package"] not in _pending(rehearsal)["packages"]


def test_the_archive_is_proven_as_declared(rehearsal: Rehearsal, archive: dict[str, Any]) -> None:
    assert archive
    done = rehearsal.verify("--control", "updates-01", "--control", "updates-04", check=False)
    assert done.ok, done.stdout
    assert rehearsal.dry("--data", "only=updates") == {}


def test_a_source_that_is_no_longer_declared_is_gone(rehearsal: Rehearsal, archive: dict[str, Any]) -> None:
    with rehearsal.settings_changed("updates.sources", {}):
        rehearsal.deploy("--data", "only=updates", "--limit", "standby")
        policy = rehearsal.exec("standby", f"apt-get -qq update && apt-cache policy {archive['package']}").stdout
        assert archive["url"] not in policy
    rehearsal.deploy("--data", "only=updates", "--limit", "standby")


def test_a_masked_timer_runs_again(rehearsal: Rehearsal) -> None:
    """With times that change as well: the timers are restarted before each is looked at."""
    timer = "apt-daily-upgrade.timer"
    rehearsal.exec(MACHINE, f"systemctl mask -q --now {timer}")
    with rehearsal.settings_changed("updates.max_pending_days", 4):
        rehearsal.deploy("--data", "only=updates", "--limit", MACHINE)
        states = rehearsal.exec(MACHINE, f"systemctl is-enabled {timer}; systemctl is-active {timer}").stdout
        assert states.split() == ["enabled", "active"]
    rehearsal.deploy("--data", "only=updates", "--limit", MACHINE)


def test_without_a_reason_nothing_reboots(rehearsal: Rehearsal, since: int) -> None:
    before = _boot(rehearsal, MACHINE)
    rehearsal.exec(MACHINE, REBOOT)
    assert "no reboot is pending" in _log(rehearsal, MACHINE, since)
    assert _boot(rehearsal, MACHINE) == before


def test_programs_that_run_replaced_code_are_a_reason(rehearsal: Rehearsal) -> None:
    """As after an upgrade of a library: the file is another one, the process still has the old one."""
    program = "/usr/local/bin/outdated"
    rehearsal.exec(MACHINE, f"cp /bin/sleep {program} && systemd-run -q --unit=outdated {program} 300")
    try:
        wait_for(lambda: "outdated" in _processes(rehearsal), "the program runs")
        assert _pending(rehearsal)["reboot"] == {}
        rehearsal.exec(MACHINE, f"cp /bin/sleep {program}.new && mv {program}.new {program}")
        assert _pending(rehearsal)["reboot"]["stale"]["why"] == "replaced code still runs in outdated"
    finally:
        rehearsal.exec(MACHINE, f"systemctl stop outdated; rm {program}")


def test_with_a_peer_off_nothing_reboots(rehearsal: Rehearsal, since: int) -> None:
    before = _boot(rehearsal, MACHINE)
    rehearsal.lab("crash", "standby")
    try:
        rehearsal.exec(MACHINE, f"touch /run/reboot-required && {REBOOT}")
        assert "no reboot now: standby (10.20.0.12) does not answer" in _log(rehearsal, MACHINE, since)
    finally:
        rehearsal.exec(MACHINE, "rm /run/reboot-required")
        rehearsal.lab("start", "standby")
        _wait_until_well(rehearsal, "standby")
    assert _boot(rehearsal, MACHINE) == before
    # the claim is withdrawn: the next one who wants to reboot finds this machine well
    assert "bastide_reboot" not in rehearsal.exec(MACHINE, "nft list tables").stdout


def test_what_waits_for_too_long_raises_an_alert(rehearsal: Rehearsal, since: int) -> None:
    state = "/var/lib/bastide/updates.json"
    rehearsal.exec(MACHINE, "touch /run/reboot-required && systemctl start bastide-updates.service")
    alerts = f"{LOG.format(since=since)} -p alert"
    assert rehearsal.exec(MACHINE, alerts).stdout == ""
    try:
        # the first look was 20 days ago
        rehearsal.exec(MACHINE, f"sed -Ei 's/(\"asked\": )[0-9.]+/\\1{since - 20 * 86400}/' {state}")
        rehearsal.exec(MACHINE, "systemctl start bastide-updates.service")
        assert "has waited for 20.0 days, at most 3 are allowed" in rehearsal.exec(MACHINE, alerts).stdout
    finally:
        rehearsal.exec(MACHINE, "rm /run/reboot-required; systemctl start bastide-updates.service")


def test_a_check_of_another_capability_may_refuse(rehearsal: Rehearsal, since: int) -> None:
    check = "/etc/bastide/reboot.d/leader"
    before = _boot(rehearsal, MACHINE)
    rehearsal.exec(MACHINE, f"printf '#!/bin/sh\\necho this machine leads\\nexit 1\\n' > {check} && chmod 755 {check}")
    try:
        rehearsal.exec(MACHINE, f"touch /run/reboot-required && {REBOOT}")
        assert "no reboot now: the check leader refuses: this machine leads" in _log(rehearsal, MACHINE, since)
    finally:
        rehearsal.exec(MACHINE, f"rm {check} /run/reboot-required")
    assert _boot(rehearsal, MACHINE) == before


@pytest.mark.full("drift")
def test_of_three_that_want_to_reboot_at_once_at_most_one_does(rehearsal: Rehearsal, since: int) -> None:
    names = ("primary", "standby", "witness")
    before = {name: _boot(rehearsal, name) for name in names}
    for name in names:
        rehearsal.exec(name, "touch /run/reboot-required")
    try:
        for name in names:
            rehearsal.exec(name, "systemctl start --no-block bastide-reboot.service")
        for name in names:
            _wait_until_well(rehearsal, name)
        # a reboot goes through logind: the service has ended before anybody is told that the machine goes down
        going = [name for name in names if "rebooting, since" in _log(rehearsal, name, since)]
        for name in going:
            _wait_for_boot(rehearsal, name, before[name])
        assert len(going) <= 1, going
        for name in set(names) - set(going):
            assert "no reboot now" in _log(rehearsal, name, since), f"{name} says nothing"
        assert [name for name in names if _boot(rehearsal, name) != before[name]] == going
    finally:
        for name in names:
            rehearsal.exec(name, "rm -f /run/reboot-required")


@pytest.mark.alone
def test_with_all_peers_well_it_reboots(rehearsal: Rehearsal, since: int) -> None:
    before = _boot(rehearsal, MACHINE)
    rehearsal.exec(MACHINE, "touch /run/reboot-required && systemctl start --no-block bastide-reboot.service")
    _wait_for_boot(rehearsal, MACHINE, before)
    assert "rebooting, since a package asked for it" in _log(rehearsal, MACHINE, since)


def test_what_has_rebooted_is_as_it_was_proven(rehearsal: Rehearsal) -> None:
    done = rehearsal.verify("--machine", MACHINE, check=False)
    assert done.ok, done.stdout


def _version(rehearsal: Rehearsal, archive: dict[str, Any]) -> str:
    return rehearsal.exec(MACHINE, f"dpkg-query -W -f '${{Version}}' {archive['package']}").stdout


def _pending(rehearsal: Rehearsal) -> Any:
    return json.loads(rehearsal.exec(MACHINE, "python3 -I /usr/local/lib/bastide/updates.py look").stdout)


def _processes(rehearsal: Rehearsal) -> list[str]:
    return rehearsal.exec(MACHINE, "cat /proc/[0-9]*/comm 2>/dev/null || true").stdout.split()


def _log(rehearsal: Rehearsal, machine: str, since: int) -> str:
    return rehearsal.exec(machine, LOG.format(since=since)).stdout


def _boot(rehearsal: Rehearsal, machine: str) -> str:
    """The boot id; "" while the machine is off."""
    return rehearsal.exec(machine, "cat /proc/sys/kernel/random/boot_id", check=False).stdout


def _wait_for_boot(rehearsal: Rehearsal, machine: str, before: str) -> None:
    try:
        wait_for(lambda: _boot(rehearsal, machine) not in ("", before), f"{machine} has booted again", seconds=SECONDS)
    except AssertionError as error:
        # it goes down, and something does not: what it waits for is gone with the lab
        script = "systemctl list-jobs --no-legend; journalctl -q -n 40 -o short-precise"
        raise AssertionError(f"{error}\n{rehearsal.exec(machine, script, check=False).stdout}") from None
    _wait_until_well(rehearsal, machine)


def _wait_until_well(rehearsal: Rehearsal, machine: str) -> None:
    """Booted, and no reboot under way."""

    # in this order: when the service has ended with a reboot, the second answer is "stopping" already
    script = "systemctl show -P ActiveState bastide-reboot; systemctl is-system-running"

    def well() -> bool:
        return rehearsal.exec(machine, script, check=False).stdout.split() == ["inactive", "running"]

    wait_for(well, f"{machine} is running", seconds=SECONDS)
