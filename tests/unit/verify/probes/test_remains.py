"""What is found of who left, of what makes somebody root, of units that are told otherwise, and of packages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.verify import test_users as checked
from tests.verify.probes import systemd
from tests.verify.probes.remote import installs, left_behind, roots_own
from tests.verify.probes.world import Observation, Output, now


def _judged(raised: dict[str, Any], writable: dict[str, str]) -> Observation:
    sudo = {"/usr/bin/sudo": {"mode": "4755", "capable": False, "as_brought": True}}
    text = json.dumps({"raised": {**sudo, **raised}, "writable": writable, "seen": 2})
    return Observation("c", Output(0, text), now(), 0.1)


@pytest.mark.parametrize(
    ("raised", "writable", "says"),
    [
        ({"/usr/bin/less": {"mode": "4755", "capable": False, "as_brought": True}}, {}, "/usr/bin/less gives whoever"),
        ({"/opt/tool": {"mode": "755", "capable": True, "as_brought": False}}, {}, "/opt/tool gives whoever"),
        ({"/usr/bin/su": {"mode": "4755", "capable": False, "as_brought": False}}, {}, "another program than its"),
        ({}, {"/etc/passwd": "anybody may write it (666)"}, "/etc/passwd: anybody may write it"),
    ],
)
def test_a_file_that_makes_somebody_root_is_named(raised: dict[str, Any], writable: dict[str, str], says: str) -> None:
    checked.test_no_file_makes_anybody_root(_judged({}, {}), print)
    with pytest.raises(AssertionError, match=says):
        checked.test_no_file_makes_anybody_root(_judged(raised, writable), print)


def test_who_may_write_is_told_by_mode_and_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    plan: dict[str, Any] = {"places": [str(tmp_path)], "services": [], "least": 1000}

    def why(mode: int, owner: int, plan: dict[str, Any] = plan) -> str:
        file.chmod(mode)
        state = list(file.stat())
        state[4], state[5] = owner, 0
        return roots_own._writable(str(file), os.stat_result(state), plan)

    assert why(0o644, 0) == ""
    assert why(0o666, 0) == "anybody may write it (666)"
    assert why(0o664, 0) == "its group may write it (664)"
    assert why(0o644, 1001) == "it belongs to number 1001"
    service = {**plan, "services": [str(tmp_path)]}
    assert why(0o644, 101, service) == ""
    assert why(0o644, 1001, service) == "it belongs to number 1001"


def test_words_of_sudoers_are_read_as_sudo_reads_them() -> None:
    assert "carla" in left_behind._words("carla ALL=(ALL) ALL")
    assert "carla" not in left_behind._words("# carla left")
    assert "1001" in left_behind._words("#1001 ALL=(ALL) ALL")


def test_units_that_are_told_otherwise_are_named() -> None:
    def told(name: str, fragment: str, more: str = "") -> list[str]:
        text = f"Id={name}\nLoadState=loaded\nFragmentPath={fragment}\nDropInPaths={more}"
        return systemd.told_besides(systemd.units(Output(0, text))[name])

    assert told("ssh.service", "/usr/lib/systemd/system/ssh.service") == []
    assert told("x.timer", "/usr/lib/systemd/system/x.timer", "/etc/systemd/system/x.timer.d/bastide.conf") == []
    assert told("ssh.service", "/etc/systemd/system/ssh.service") != []
    assert told("bastide-x.service", "/etc/systemd/system/bastide-x.service", "/run/systemd/system/service.d/a.conf")


def test_what_bends_apt_and_dpkg_is_told_from_what_does_not() -> None:
    for key in ("DPkg::Pre-Invoke::", "Dpkg::Options::", "Dir::Bin::dpkg", "APT::Update::Post-Invoke-Success::"):
        assert installs._BENDS.match(key), key
    for key in ("APT::Periodic::Enable", "Unattended-Upgrade::Origins-Pattern::", "Dir::Log"):
        assert not installs._BENDS.match(key), key
    assert installs._TEXTS.match("path-exclude=/usr/share/doc/*")
    assert not installs._TEXTS.match("path-exclude=/usr/bin/*")
