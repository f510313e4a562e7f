"""Bans: what turns their checks red."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.unit.deploys.box import SETTINGS
from tests.verify import test_fail2ban as checked_fail2ban
from tests.verify.probes.fail2ban import UNKNOWN, Dropped, Held, Watched
from tests.verify.probes.fail2ban_state import state_command
from tests.verify.probes.world import Observation, Output, now

MEMBERS = ("10.21.0.11", "10.21.0.12", "10.21.0.13", "10.21.0.101")


def _observation(text: str) -> Observation:
    return Observation("command", Output(0, text), now(), 0.1)


def _bans(**changed: object) -> Observation:
    jail: dict[str, Any] = {
        "ignoreip": ["127.0.0.0/8", "::1", "198.51.100.10", "2001:db8:ffff::10", "10.20.0.0/16", *MEMBERS],
        "ignorecommand": "",
        **{"maxretry": 5, "findtime": 3600, "bantime": 3600, "bantime.increment": True, "bantime.maxtime": 604800},
        **dict.fromkeys(("bantime.formula", "bantime.multipliers", "bantime.rndtime"), None),
        **{"bantime.factor": "1", "spared": 0},
        **{"banned": 0, "not_dropped": 0, "not_kept": 0, "drops": ["ip", "ip6"], "test": []},
    }
    server = {"dbfile": "/var/lib/x", "dbpurgeage": 2592000, "filesystem": "ext2/ext3", "boot": "enabled"}
    return _observation(json.dumps({**server, "flusher": "masked", "jails": {"sshd": jail | changed}}))


def test_a_server_that_bans_as_declared_is_proven() -> None:
    checked_fail2ban.test_limits_in_force(_bans(), SETTINGS, note=print)
    checked_fail2ban.test_every_packet_is_dropped(_bans(), note=print)
    checked_fail2ban.test_bans_outlive_a_restart(_bans(), SETTINGS, note=print)


def test_a_server_that_bans_otherwise_is_seen() -> None:
    with pytest.raises(AssertionError, match="bans for 60 s only"):
        checked_fail2ban.test_limits_in_force(_bans(bantime=60), SETTINGS, note=print)
    with pytest.raises(AssertionError, match="no rule drops all"):
        checked_fail2ban.test_every_packet_is_dropped(_bans(drops=["ip"]), note=print)
    with pytest.raises(AssertionError, match="2 of 3 banned are not in the database"):
        checked_fail2ban.test_bans_outlive_a_restart(_bans(banned=3, not_kept=2), SETTINGS, note=print)
    with pytest.raises(AssertionError, match="fail2ban does not answer"):
        checked_fail2ban.test_limits_in_force(_observation("null"), SETTINGS, note=print)


def test_bans_that_grow_otherwise_are_seen() -> None:
    with pytest.raises(AssertionError, match=r"the second time for bantime.multipliers 1 1"):
        checked_fail2ban.test_limits_in_force(_bans(**{"bantime.multipliers": "1 1"}), SETTINGS, note=print)


def test_a_whole_world_that_is_spared_is_seen() -> None:
    nobody: Any = ()
    with pytest.raises(AssertionError, match=r"spares without being told to: 0\.0\.0\.0/1"):
        checked_fail2ban.test_operators_and_servers_are_spared(
            _bans(ignoreip=["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"]), SETTINGS, nobody, note=print
        )
    checked_fail2ban.test_operators_and_servers_are_spared(_bans(), SETTINGS, nobody, note=print)
    with pytest.raises(AssertionError, match="has banned 1 address that it should spare"):
        checked_fail2ban.test_operators_and_servers_are_spared(_bans(spared=1), SETTINGS, nobody, note=print)


def test_silence_of_an_address_that_was_silent_before_proves_nothing() -> None:
    silent = Observation("c", Dropped(0, *({"ping": False, "port": "not asked"},) * 3), now(), 0.1)
    with pytest.raises(AssertionError, match="silence proves nothing"):
        checked_fail2ban.test_a_banned_address_gets_no_answer(silent, note=print)


def test_the_script_that_reads_bans_is_python() -> None:
    words = shlex.split(state_command())
    assert words[:3] == ["python3", "-I", "-c"]
    compile(words[3], "state", "exec")


def test_every_kind_of_account_is_named() -> None:
    seen = {f"{kind} over {family}": kind != "root" for kind in ("root", UNKNOWN) for family in ("IPv4", "IPv6")}
    with pytest.raises(AssertionError) as wrong:
        checked_fail2ban.test_failed_logins_are_seen(Observation("c", Watched(True, seen), now(), 0.1), note=print)
    assert str(wrong.value).splitlines()[0] == (
        "root fails with a wrong key unseen over IPv4; root fails with a wrong key unseen over IPv6"
    )
    all_ = dict.fromkeys(seen, True)
    checked_fail2ban.test_failed_logins_are_seen(Observation("c", Watched(True, all_), now(), 0.1), note=print)


def test_a_ban_comes_neither_early_nor_never() -> None:
    def check(held: Held) -> None:
        checked_fail2ban.test_failures_ban_and_the_ban_is_kept(Observation("c", held, now(), 0.1), SETTINGS, note=print)

    check(Held(early=False, banned=[True, True]))
    with pytest.raises(AssertionError, match="does not get into"):
        check(Held(early=False, banned=[True, False]))
    with pytest.raises(AssertionError, match="banned before it has failed 5 times"):
        check(Held(early=True, banned=[True, True]))
