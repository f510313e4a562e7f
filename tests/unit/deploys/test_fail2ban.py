"""fail2ban: who is spared, when it is set right, and what frees an address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bastide.errors import BastideError
from bastide.settings import Fail2ban
from deploys import fail2ban
from deploys.facts.fact import Facts
from deploys.operations.bans import an_address, bans
from tests.unit.deploys.box import MACHINES, SETTINGS, here

NETWORKS = fail2ban.spared(replace(fail2ban.wanted_of(here()), mesh=None))


def seen(**changed: object) -> dict[str, Any]:
    jail = {
        "ignoreip": [word.removesuffix("/32").removesuffix("/128") for word in NETWORKS],
        "maxretry": 5,
        "findtime": 3600,
        "bantime": 3600,
        "bans": {"192.0.2.7": "2026-11-21 09:37:06 + 600 = 2026-11-21 09:47:06"},
        "without_rule": False,
        **changed,
    }
    server = {"dbfile": fail2ban.DATABASE, "dbpurgeage": 30 * 86400, "jails": {"sshd": jail}}
    return {"fail2ban": {"files": [], "server": server}, "units": {fail2ban.UNIT: {"UnitFileState": "enabled"}}}


def drift(answer: dict[str, Any]) -> str:
    return fail2ban.drift(SETTINGS.fail2ban, NETWORKS, Facts(answer))


def test_spared_are_operators_servers_the_private_network_and_the_vpn() -> None:
    wanted = Fail2ban(spared=("192.0.2.0/24",))
    networks = fail2ban.spared(replace(fail2ban.wanted_of(here()), fail2ban=wanted))
    own = {f"{machine.address}/32" for machine in MACHINES} | {f"{machine.address6}/128" for machine in MACHINES}
    assert {
        *SETTINGS.firewall.operators,
        SETTINGS.network.range,
        "10.21.0.12/32",
        "10.21.0.101/32",
        "192.0.2.0/24",
    } <= set(networks)
    assert own <= set(networks)
    assert len(set(networks)) == len(networks)


def test_nothing_is_done_when_all_is_as_declared() -> None:
    assert drift(seen()) == ""


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"maxretry": 50}, "maxretry"),
        ({"bantime": 600}, "bantime"),
        ({"ignoreip": ["127.0.0.0/8"]}, "ignoreip"),
        ({"without_rule": True}, "flushed"),
    ],
)
def test_what_the_server_does_is_compared(changed: dict[str, object], says: str) -> None:
    assert says in drift(seen(**changed))


def test_a_server_that_is_off_forgets_or_lacks_a_jail_is_set_right() -> None:
    off, forgets, lacks = seen(), seen(), seen()
    off["fail2ban"]["server"] = None
    forgets["fail2ban"]["server"]["dbfile"] = None
    lacks["fail2ban"]["server"]["jails"] = {}
    assert drift(off) == "fail2ban is not enabled and running"
    assert "does not keep" in drift(forgets)
    assert drift(lacks) == "the jail sshd does not run"


def test_jails_of_gone_capabilities_are_removed_and_nobody_elses() -> None:
    files = fail2ban.jail_files(SETTINGS.fail2ban, NETWORKS)
    there = ["/etc/fail2ban/jail.d/bastide-gone.local", "/etc/fail2ban/jail.d/bastide-ssh.local"]
    gone = fail2ban.undeclared(files, there)
    assert [(file.path, file.content) for file in gone] == [("/etc/fail2ban/jail.d/bastide-gone.local", None)]


def test_a_capability_with_log_files_has_a_place() -> None:
    jail = fail2ban.Jail("nginx", "nginx-limit", "nginx-limit-req", logs=("/var/log/a.log", "/var/log/b.log"))
    text = fail2ban.render("fail2ban/bastide-jail.local.j2", jail=jail)
    assert "logpath = /var/log/a.log\n          /var/log/b.log\n" in text
    assert "journalmatch" not in text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"max_tries": 1}, "greater than or equal to 3"),
        ({"spared": ("0.0.0.0/0",)}, "nobody would be banned"),
        ({"ban_minutes": 2000, "max_ban_days": 1}, "must not exceed max_ban_days"),
    ],
)
def test_settings_that_undo_it_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Fail2ban(**values)


def test_who_is_banned_by_whom() -> None:
    assert bans(seen()["fail2ban"]) == [("sshd", "192.0.2.7", "since 2026-11-21 09:37:06 until 2026-11-21 09:47:06")]
    assert bans({"files": [], "server": None}) == []


@pytest.mark.parametrize("word", ["203.0.113.9", " 203.0.113.9 "])
def test_an_address_is_taken(word: str) -> None:
    assert an_address(word) == "203.0.113.9"


def test_an_address_is_written_as_fail2ban_has_it() -> None:
    assert an_address("2001:DB8:0::0:5") == "2001:db8::5"


@pytest.mark.parametrize("word", [None, "1.2.3", "203.0.113.0/24", "a; reboot", 5.5])
def test_what_is_no_address_is_refused_with_the_next_step(word: object) -> None:
    with pytest.raises(BastideError) as caught:
        an_address(word)
    assert "make bans" in caught.value.hint
