"""Who is turned away: by failed logins that are really made, bans that are really set, and packets that are dropped."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.machines import Inventory
from bastide.mesh import mesh_of
from bastide.settings import Settings
from tests.verify.probes import fail2ban
from tests.verify.probes.fail2ban import Dropped, Watched
from tests.verify.probes.fail2ban_state import parse
from tests.verify.probes.world import Observation

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IN_MEMORY = {"tmpfs", "ramfs"}


def _server(observation: Observation) -> dict[str, Any]:
    server = parse(observation.data.text)
    assert server, "fail2ban does not answer"
    assert "sshd" in server["jails"], "there is no jail for ssh"
    return server


@pytest.mark.control("fail2ban-01")
@pytest.mark.probe(fail2ban.watched)
def test_failed_logins_are_seen(observation: Observation, note: Callable[[str], None]) -> None:
    """Failed logins made for this check are counted: of a user who does not exist, and of one who does."""
    seen: Watched = observation.data
    assert seen.spared, "no login was tried: fail2ban does not answer, or does not spare this address"
    assert seen.unknown, "a user who does not exist fails unseen"
    assert seen.existing, "a user who exists fails with a wrong key unseen"
    note("both were counted")


@pytest.mark.control("fail2ban-01")
@pytest.mark.probe(fail2ban.jails)
def test_limits_in_force(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The running server counts, and bans, as declared."""
    wanted = settings.fail2ban
    for name, jail in _server(observation)["jails"].items():
        assert 0 < jail["maxretry"] <= wanted.max_tries, f"{name} lets {jail['maxretry']} tries fail"
        assert jail["findtime"] >= wanted.find_minutes * 60, f"{name} forgets a failure after {jail['findtime']} s"
        assert jail["bantime"] >= wanted.ban_minutes * 60, f"{name} bans for {jail['bantime']} s only"
        assert jail["bantime.increment"] is True, f"{name} bans no longer the second time"
        assert jail["bantime.maxtime"] == wanted.max_ban_days * 86400, f"{name}: longest ban {jail['bantime.maxtime']}"
    note(f"{wanted.max_tries} tries in {wanted.find_minutes} minutes, {wanted.ban_minutes} minutes, then longer")


@pytest.mark.control("fail2ban-02")
@pytest.mark.active
@pytest.mark.probe(fail2ban.dropped)
def test_a_banned_address_gets_no_answer(observation: Observation, note: Callable[[str], None]) -> None:
    """A spare address of the prober is answered, then banned and not answered, then answered again."""
    seen: Dropped = observation.data
    assert seen.before["ping"], "it does not answer a ping before the ban: silence proves nothing"
    assert not seen.during["ping"], "a banned address gets an answer to its ping"
    if seen.before["port"] in ("open", "closed"):
        assert seen.during["port"] == "filtered", f"a banned address gets an answer from port {seen.port}"
    assert seen.after["ping"], "the ban is not lifted when it is to be"
    note(f"ping: answer, silence, answer; port {seen.port or 'none is open to strangers'}: {seen.during['port']}")


@pytest.mark.control("fail2ban-02")
@pytest.mark.probe(fail2ban.jails)
def test_every_packet_is_dropped(observation: Observation, note: Callable[[str], None]) -> None:
    """The kernel drops all that comes from a jail's sets, before the firewall, and the sets hold all who are banned."""
    for name, jail in _server(observation)["jails"].items():
        for family, word in (("ip", "IPv4"), ("ip6", "IPv6")):
            assert family in jail["drops"], f"no rule drops all that comes from the addresses that {name} bans ({word})"
        assert not jail["not_dropped"], f"{name}: {jail['not_dropped']} of {jail['banned']} banned are not dropped"
    note("a rule for IPv4 and one for IPv6, without a port")


@pytest.mark.control("fail2ban-02", "fail2ban-04")
@pytest.mark.probe(fail2ban.held)
def test_a_ban_is_set_and_kept(observation: Observation, note: Callable[[str], None]) -> None:
    """A ban that was made for this check stands in the kernel's set and in the database, over IPv4 and IPv6."""
    assert all(observation.data), "a ban does not get into the kernel's set and the database"
    note("192.0.2.x and 3fff:fff::x")


@pytest.mark.control("fail2ban-03")
@pytest.mark.probe(fail2ban.jails)
def test_operators_and_servers_are_spared(
    observation: Observation, settings: Settings, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """Every jail ignores operators, servers, the private network and the mesh, and nobody who is not named."""
    addresses = [word for one in inventory for word in (one.address, one.address6, one.private_address)]
    mesh = mesh_of(settings)
    own = [word for word in (*addresses, *(mesh.everybody if mesh else ())) if word]
    wanted = [_network(word) for word in (*settings.firewall.operators, *own, "127.0.0.1", "::1")]
    declared = [*wanted, *map(_network, ("127.0.0.0/8", settings.network.range, *settings.fail2ban.spared))]
    for name, jail in _server(observation)["jails"].items():
        ignored = [_network(word) for word in jail["ignoreip"]]
        missing = [str(one) for one in wanted if not any(_inside(one, other) for other in ignored)]
        assert not missing, f"{name} would ban {', '.join(missing)}"
        strangers = [str(one) for one in ignored if not any(_inside(one, other) for other in declared)]
        assert not strangers, f"{name} spares without being told to: {', '.join(strangers)}"
    note(
        f"{count(len(settings.firewall.operators), 'network')} of operators, {count(len(own), 'address', 'addresses')}"
    )


@pytest.mark.control("fail2ban-03")
@pytest.mark.probe(fail2ban.watched)
def test_the_operator_is_not_banned(observation: Observation, note: Callable[[str], None]) -> None:
    """After the failed logins of this run, a new login from here works."""
    assert observation.data.spared, "fail2ban does not answer, or does not spare this address"
    assert observation.data.welcome, "the operator's address gets no new session after failed logins"
    note("a new session was opened")


@pytest.mark.control("fail2ban-04")
@pytest.mark.probe(fail2ban.jails)
def test_bans_outlive_a_restart(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The database is on disk and holds all who are banned; fail2ban starts at boot, and nothing flushes its rules."""
    server = _server(observation)
    assert server["dbfile"], "fail2ban keeps no database"
    assert server["filesystem"] not in _IN_MEMORY, f"the database is in memory ({server['filesystem']})"
    assert server["dbpurgeage"] >= settings.fail2ban.remember_days * 86400, "ended bans are forgotten earlier"
    assert server["boot"] == "enabled", "fail2ban does not start at boot"
    assert server["flusher"] != "enabled", "nftables.service flushes all rules when it is started, stopped or reloaded"
    for name, jail in server["jails"].items():
        assert not jail["not_kept"], f"{name}: {jail['not_kept']} of {jail['banned']} banned are not in the database"
    note(f"{server['dbfile']}, kept for {count(settings.fail2ban.remember_days, 'day')}")


def _network(word: str) -> _Network:
    return ipaddress.ip_network(word, strict=False)


def _inside(one: _Network, other: _Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network) and one.subnet_of(other)
