"""Every problem of every machine at once, each with what to do next."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from bastide.errors import PreflightError
from bastide.layout.users import CHECKS_COMMENT
from bastide.settings import Settings, Verification
from deploys import preflight as module
from deploys.facts.fact import Facts
from deploys.preflight import _Seen, notes, preflight, problems
from tests.unit.deploys.box import CHECKS_KEY, SETTINGS, here

FIT = {
    "root": True,
    "system": "debian",
    "version": "13",
    "container": "systemd-nspawn",
    "disks": {"/": {"free_mb": 9000, "free_inodes": 90_000}, "/var": {"free_mb": 9000, "free_inodes": None}},
    "package_lock": "",
    "reboot": False,
    "holders": {"tcp/22": [{"program": "sshd", "unit": "ssh.service"}]},
    "instead": [],
    "strange": {},
    "other_rules": False,
    "bridges": [],
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


def held(port, program, unit):
    return {port: [{"program": program, "unit": unit}]}


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
        {
            "holders": held("tcp/22", "nginx", "nginx.service"),
            "zone": False,
            "locale": False,
            "system_accounts": ["backup"],
        },
        0.0,
        [
            "m: port 22 (tcp) is held by nginx of nginx.service, ssh needs it; stop that, or choose another ssh.port",
            "m: knows no time zone Etc/UTC; `timedatectl list-timezones` has them all",
            "m: knows no locale C.UTF-8; /usr/share/i18n/SUPPORTED has them all",
            "m: backup is an account of the system, not a person's; choose another name in settings.users",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "offset", "expected"), CASES)
def test_problems(changes, offset, expected):
    assert problems("m", seen(changes, offset), SETTINGS) == expected


def test_an_account_of_somebody_else_is_not_made_the_checks():
    users = SETTINGS.users.model_copy(update={"verification": Verification(keys=(CHECKS_KEY,))})
    wanted = SETTINGS.model_copy(update={"users": users})
    for comment, expected in (("Vera", 1), (CHECKS_COMMENT, 0)):
        accounts = {"accounts": {"verify": {"comment": comment}}}
        fit = Facts({"machine": FIT, "half_way": [], "accounts": accounts})
        found = problems("m", _Seen(fit, 0.0, 0.1), wanted)
        assert len(found) == expected
        assert all("there is an account verify already" in line for line in found)


CLUSTERED = Settings.model_validate(
    {**SETTINGS.model_dump(), "postgres": {"databases": {"app": {"roles": {"app": "owner"}}}}}
)
IN_THE_WAY = [
    (
        {"holders": held("tcp/5432", "postgres", "postgresql@17-main.service")},
        "primary: port 5432 (tcp) is held by postgres of postgresql@17-main.service, PostgreSQL needs it",
    ),
    (
        {"holders": held("tcp/5000", "conmon", "no unit")},
        "primary: port 5000 (tcp) is held by conmon of no unit, HAProxy",
    ),
    ({"holders": held("udp/51820", "openvpn", "openvpn.service")}, "primary: port 51820 (udp) is held by openvpn of"),
    (
        {"instead": ["chrony"]},
        "primary: chrony is installed, but systemd-timesyncd keeps the time; `apt-get purge chrony`",
    ),
    (
        {"strange": {"haproxy.service": "/etc/haproxy/haproxy.cfg"}},
        "primary: haproxy.service runs with settings of somebody else (/etc/haproxy/haproxy.cfg), and",
    ),
    ({"other_rules": True}, "primary: nftables.service loads rules of somebody else (/etc/nftables.conf) at boot; put"),
    # said once, where both would be
    (
        {
            "holders": held("tcp/5432", "haproxy", "haproxy.service"),
            "strange": {"haproxy.service": "/etc/haproxy/haproxy.cfg"},
        },
        "primary: port 5432 (tcp) is held by haproxy of haproxy.service, PostgreSQL needs it",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), IN_THE_WAY)
def test_what_is_in_the_way_is_named(changes, expected):
    """Before anything changes: what somebody else has there is neither stopped nor written over."""
    (problem,) = problems("primary", seen(changes), CLUSTERED)
    assert problem.startswith(expected)


def test_what_the_platform_runs_itself_is_not_in_its_way():
    own = {"tcp/22": "init.scope", "tcp/5432": "patroni.service", "tcp/6432": "pgbouncer.socket"}
    own |= {"tcp/2379": "etcd.service", "udp/51820": "the kernel"}
    holders = {port: [{"program": "one", "unit": unit}] for port, unit in own.items()}
    assert problems("primary", seen({"holders": holders}), CLUSTERED) == []


def test_a_witness_needs_no_port_of_a_database():
    assert problems("witness", seen({"holders": held("tcp/5432", "postgres", "other.service")}), CLUSTERED) == []


def test_notes_forbid_nothing():
    found = seen({"reboot": True, "bridges": ["docker0"]}, half_way=["curl"])
    assert problems("m", found, SETTINGS) == []
    assert [note.split(" (")[0] for note in notes(found)] == [
        "a reboot is pending",
        "what hangs on docker0 has no way out: the firewall forwards nothing;"
        " next: docs/how-to/existing-server.md, Containers",
        "a dpkg run was interrupted",
    ]


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
