"""Every problem of every machine at once, each with what to do next."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from bastide.errors import PreflightError
from deploys import preflight as module
from deploys.facts.fact import Facts
from deploys.preflight import _Seen, notes, preflight, problems
from tests.unit.deploys.box import SETTINGS, here

FIT = {
    "root": True,
    "system": "debian",
    "version": "13",
    "container": "systemd-nspawn",
    "disks": {"/": {"free_mb": 9000, "free_inodes": 90_000}, "/var": {"free_mb": 9000, "free_inodes": None}},
    "package_lock": "",
    "reboot": False,
    "holders": {"22": "sshd"},
    "zone": True,
    "locale": True,
    "system_accounts": [],
    "cloud_init": True,
    "clock": 0.0,
}


def seen(changes=None, offset=0.0, half_way=()):
    answer = copy.deepcopy(FIT)
    for key, value in (changes or {}).items():
        answer[key] = value
    return _Seen(Facts({"machine": answer, "half_way": list(half_way)}), offset, 0.1)


CASES = [
    ({}, 0.0, []),
    (
        {"root": False},
        0.0,
        ["m: sudo does not make bastide root without a password; log in at the console, mend /etc/sudoers.d"],
    ),
    (
        {"version": "12"},
        0.0,
        ["m: runs debian 12 instead of debian 13; make it anew with image debian-13, or have its owner install that"],
    ),
    (
        {"disks": {"/": {"free_mb": 5, "free_inodes": 99_999}}},
        0.0,
        ["m: / has 5 MB free, at least 512 are needed; look with `du -xh / | sort -h | tail`"],
    ),
    (
        {"disks": {"/var": {"free_mb": 5000, "free_inodes": 7}}},
        0.0,
        ["m: /var has 7 free inodes, at least 10000 are needed; look with `du -x --inodes /var | sort -h | tail`"],
    ),
    ({}, -60.0, ["m: its clock is -60 s off from this machine's; see `timedatectl` on both"]),
    (
        {"package_lock": "apt-get (pid 7)"},
        0.0,
        ["m: apt-get (pid 7) has held the package lock for 60 s; wait until it is done"],
    ),
    (
        {"holders": {"22": "nginx"}, "zone": False, "locale": False, "system_accounts": ["backup"]},
        0.0,
        [
            "m: port 22 is held by nginx, ssh needs it; stop that, or choose another ssh.port",
            "m: knows no time zone Etc/UTC; `timedatectl list-timezones` has them all",
            "m: knows no locale C.UTF-8; /usr/share/i18n/SUPPORTED has them all",
            "m: backup is an account of the system, not a person's; choose another name in settings.users",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "offset", "expected"), CASES)
def test_problems(changes, offset, expected):
    assert problems("m", seen(changes, offset), SETTINGS) == expected


def test_notes_forbid_nothing():
    found = seen({"reboot": True}, half_way=["curl"])
    assert problems("m", found, SETTINGS) == []
    assert [note.split(" (")[0] for note in notes(found)] == ["a reboot is pending", "a dpkg run was interrupted"]


def test_no_machine_goes_on_when_one_is_not_fit(monkeypatch):
    """The first host asks for all; its error names what is wrong on each."""

    class State:
        pass

    shared = State()
    answers = {"primary": seen({"version": "12"}), "standby": seen({"package_lock": "dpkg (pid 3)"})}
    monkeypatch.setattr(module, "_ask", lambda host, settings, usual: answers[host.name])

    class Host:
        def __init__(self, name):
            self.name, self.state = name, shared

    named = [Host("primary"), Host("standby")]
    shared.inventory = SimpleNamespace(get_active_hosts=lambda: named)
    with pytest.raises(PreflightError) as error:
        preflight(named[0], here(), lambda host: {})
    assert "nothing has been changed" in error.value.message
    assert "primary: runs debian 12" in error.value.message
    assert "standby: dpkg (pid 3)" in error.value.message
