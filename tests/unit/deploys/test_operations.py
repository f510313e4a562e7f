"""From facts to commands, without a machine: packages, units, links, waits; and what counts as drift."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from deploys import firewall, ssh
from deploys.facts.fact import Facts
from deploys.operations import admit, links, packages, phase, units, wait
from tests.unit.deploys.box import here
from tests.unit.deploys.operating import commands


def test_packages(host):
    host.answer = {"packages": {"curl": True, "tree": False}, "half_way": []}
    made = commands(packages.packages, names=("tree", "curl"))
    assert [re.findall(r"apt-get .* (update|install)", line) for line in made] == [["update"], ["install"]]
    assert made[1].split(" >")[0].endswith("install --no-install-recommends -- tree")
    host.answer = {"packages": {"curl": True, "tree": True}, "half_way": ["tree"]}
    assert ["dpkg" in line for line in commands(packages.packages, names=("tree",))] == [True]
    host.answer = {"packages": {"curl": True, "tree": True}, "half_way": []}
    assert commands(packages.packages, names=("tree",)) == []


def test_package_lists_are_fetched_once_until_something_changed_or_failed(host, tmp_path):
    host.answer = {"packages": {"tree": False}, "half_way": []}
    made = commands(packages.packages, names=("tree",))
    sources, works = tmp_path / "etc/apt/sources.list.d", tmp_path / "works"
    for folder in (sources, tmp_path / "run", tmp_path / "var/log"):
        folder.mkdir(parents=True)
    works.touch()
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n[ -e {works} ]\n')
    apt.chmod(0o755)

    def asked() -> list[str]:
        (tmp_path / "asked").unlink(missing_ok=True)
        for line in made:
            script = re.sub(r"(?<![\w/])/(run|etc|var)/", rf"{tmp_path}/\1/", line)
            env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
            if subprocess.run(["sh", "-c", script], env=env, stderr=subprocess.DEVNULL, check=False).returncode:
                break
        return re.findall(r"update$|install(?= --no)", (tmp_path / "asked").read_text(), re.MULTILINE)

    assert asked() == ["update", "install"]
    assert asked() == ["install"]
    (sources / "other.sources").touch()
    assert asked() == ["update", "install"]
    works.unlink()
    assert asked() == ["install"]
    assert asked() == ["update"]
    works.touch()
    assert asked() == ["update", "install"]
    os.utime(tmp_path / "run/bastide-apt-lists", (1, 1))
    assert asked() == ["update", "install"]


@pytest.mark.parametrize(
    ("state", "unit", "made"),
    [
        ("running", ("loaded", "enabled", "active"), []),
        ("running", ("loaded", "disabled", "inactive"), ["systemctl enable u", "systemctl start u"]),
        ("enabled", ("loaded", "enabled", "inactive"), []),
        ("masked", ("loaded", "enabled", "active"), ["systemctl mask u"]),
        ("masked", ("masked", "masked", "inactive"), []),
        ("masked", ("not-found", "", "inactive"), []),
    ],
)
def test_units(state, unit, made):
    seen = dict(zip(("LoadState", "UnitFileState", "ActiveState"), unit, strict=True))
    assert units.unit_commands("u", state, seen) == made


def test_link(host):
    host.answer = {"links": {"/etc/localtime": "/old"}}
    assert len(commands(links.link, path="/etc/localtime", target="/new")) == 1
    assert commands(links.link, path="/etc/localtime", target="/old") == []


def test_admit(host):
    host.answer = {"tables": {"bastide": {"live": "x", "ssh_ports": [22]}}}
    assert commands(admit.admit, port=22) == []
    assert commands(admit.admit, port=2222) == ["nft add element inet bastide ssh_ports '{ 2222 }'"]
    host.answer = {"tables": {"bastide": {"live": "", "ssh_ports": []}}}
    assert commands(admit.admit, port=2222) == []
    host.answer = {"tables": {"bastide": {"live": "x", "ssh_ports": [22], "udp_ports": [51820]}}}
    assert commands(admit.admit, port=51820, protocol="udp") == []
    (rule,) = commands(admit.admit, port=22, protocol="udp")
    assert rule == "nft insert rule inet bastide input udp dport 22 accept"


def test_phase_changes_nothing():
    assert commands(phase.phase) == []


def test_wait(host):
    host.run_shell_command = lambda *arguments, **options: (True, None)
    assert commands(wait.wait, until="true") == []
    host.run_shell_command = lambda *arguments, **options: (False, None)
    assert len(commands(wait.wait, until="test -e x", seconds=3)) == 1
    host.state.is_executing = False
    assert commands(wait.wait, until="test -e x") == []


def test_drift_of_the_firewall():
    def drift(live="a", loaded="a", unit="enabled"):
        tables, units = {"bastide": {"live": live, "loaded": loaded}}, {firewall.UNIT: {"UnitFileState": unit}}
        return firewall.drift(Facts({"tables": tables, "units": units}))

    assert drift() == ""
    assert "not loaded" in drift(live="")
    assert "by somebody" in drift(live="b")
    assert "next boot" in drift(unit="disabled")


def test_drift_of_ssh():
    config = ssh.config_file(ssh.wanted_of(here()))
    running = {"ActiveState": "active", "UnitFileState": "enabled"}
    off = {"ActiveState": "inactive", "UnitFileState": "disabled"}
    fine = {"sshd": ssh.effective(config), "units": {"ssh.service": running, "ssh.socket": off}}
    assert ssh.drift(config, Facts(fine)) == ""
    other = {**ssh.effective(config), "permitrootlogin": ["yes"], "allowusers": ["bastide", "anna", "bruno", "eve"]}
    assert (
        ssh.drift(config, Facts({**fine, "sshd": other}))
        == "effective configuration differs: allowusers, permitrootlogin"
    )
    assert "socket" in ssh.drift(config, Facts({**fine, "units": {"ssh.service": running, "ssh.socket": running}}))
    assert "not enabled" in ssh.drift(config, Facts({**fine, "units": {"ssh.service": off, "ssh.socket": off}}))
