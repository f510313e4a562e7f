"""Who is turned away: by failed logins that are really made, bans that are really set, and packets that are dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bastide.controls import count
from bastide.machines import Inventory
from bastide.mesh import mesh_of
from bastide.settings import Settings
from tests.verify import networks
from tests.verify.findings import judge
from tests.verify.probes import fail2ban
from tests.verify.probes.fail2ban import UNKNOWN, Dropped, Held, Watched
from tests.verify.probes.fail2ban_state import parse
from tests.verify.probes.systemd import boots, told_besides, units
from tests.verify.probes.world import Observation

_IN_MEMORY = {"tmpfs", "ramfs"}
# jail.conf(5): what a longer ban is worked out from. Twice as long each time is what it does when none of it is said.
_AS_THEY_COME = {
    "bantime.formula": (None, "", "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor"),
    "bantime.multipliers": (None, ""),
    "bantime.factor": (None, "", "1", 1),
    "bantime.rndtime": (None, "", 0),
}


def _server(observation: Observation) -> dict[str, Any]:
    server = parse(observation.data.text)
    assert server, "fail2ban does not answer"
    assert "sshd" in server["jails"], "there is no jail for ssh"
    return server


def _not_doubled(jail: dict[str, Any]) -> str:
    """What else than doubling the running server does with the time of a ban; "" for nothing."""
    return ", ".join(f"{key} {jail[key]}" for key, usual in _AS_THEY_COME.items() if jail[key] not in usual)


@pytest.mark.control("fail2ban-01")
@pytest.mark.probe(fail2ban.watched)
def test_failed_logins_are_seen(observation: Observation, note: Callable[[str], None]) -> None:
    """Failed logins made for this check are counted: as root, a person, automation, and a user who does not exist."""
    seen: Watched = observation.data
    assert seen.spared, "no login was tried: fail2ban does not answer, or does not spare this address"
    wrong = []
    for what, noticed in seen.noticed.items():
        kind, _, family = what.rpartition(" over ")
        key = "" if kind == UNKNOWN else " with a wrong key"
        if not noticed:
            wrong.append(f"{kind} fails{key} unseen over {family}")
    judge(wrong)
    families = sorted({what.rpartition(" ")[2] for what in seen.noticed})
    note(f"all were counted, over {' and '.join(families)}: {len(seen.noticed)} logins")


@pytest.mark.control("fail2ban-01")
@pytest.mark.probe(fail2ban.jails)
def test_limits_in_force(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The running server counts, and bans, as declared."""
    wanted = settings.fail2ban
    wrong = []
    for name, jail in _server(observation)["jails"].items():
        if not 0 < jail["maxretry"] <= wanted.max_tries:
            wrong.append(f"{name} lets {jail['maxretry']} tries fail")
        if jail["findtime"] < wanted.find_minutes * 60:
            wrong.append(f"{name} forgets a failure after {jail['findtime']} s")
        if jail["bantime"] < wanted.ban_minutes * 60:
            wrong.append(f"{name} bans for {jail['bantime']} s only")
        if jail["bantime.increment"] is not True:
            wrong.append(f"{name} bans no longer the second time")
        if longer := _not_doubled(jail):
            wrong.append(f"{name} bans the second time for {longer}")
        if jail["bantime.maxtime"] != wanted.max_ban_days * 86400:
            wrong.append(f"{name}: longest ban {jail['bantime.maxtime']}")
    judge(wrong)
    note(f"{wanted.max_tries} tries in {wanted.find_minutes} minutes, {wanted.ban_minutes} minutes, then longer")


@pytest.mark.control("fail2ban-02")
@pytest.mark.active
@pytest.mark.probe(fail2ban.dropped)
def test_a_banned_address_gets_no_answer(observation: Observation, note: Callable[[str], None]) -> None:
    """A spare address of the prober is answered, then banned and not answered, then answered again."""
    seen: Dropped = observation.data
    assert seen.before["ping"], "it does not answer a ping before the ban: silence proves nothing"
    wrong = ["a banned address gets an answer to its ping"] if seen.during["ping"] else []
    if seen.before["port"] in ("open", "closed") and seen.during["port"] != "filtered":
        wrong.append(f"a banned address gets an answer from port {seen.port}")
    if not seen.after["ping"]:
        wrong.append("the ban is not lifted when it is to be")
    judge(wrong)
    note(f"ping: answer, silence, answer; port {seen.port or 'none is open to strangers'}: {seen.during['port']}")


@pytest.mark.control("fail2ban-02")
@pytest.mark.probe(fail2ban.jails)
def test_every_packet_is_dropped(observation: Observation, note: Callable[[str], None]) -> None:
    """The kernel drops all that comes from a jail's sets, before the firewall, and the sets hold all who are banned."""
    wrong = []
    for name, jail in _server(observation)["jails"].items():
        wrong += [
            f"no rule drops all that comes from the addresses that {name} bans ({word})"
            for family, word in (("ip", "IPv4"), ("ip6", "IPv6"))
            if family not in jail["drops"]
        ]
        if jail["not_dropped"]:
            wrong.append(f"{name}: {jail['not_dropped']} of {jail['banned']} banned are not dropped")
    judge(wrong)
    note("a rule for IPv4 and one for IPv6, without a port")


@pytest.mark.control("fail2ban-01", "fail2ban-02", "fail2ban-04")
@pytest.mark.probe(fail2ban.held)
def test_failures_ban_and_the_ban_is_kept(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """As many failures as may be, of two addresses that nobody has, ban them: in the kernel's sets and the database."""
    seen: Held = observation.data
    wrong = [] if all(seen.banned) else ["a ban does not get into the kernel's set and the database"]
    if seen.early:
        wrong.append(f"an address is banned before it has failed {settings.fail2ban.max_tries} times")
    judge(wrong)
    note(f"192.0.2.x and 3fff:fff::x, after {count(settings.fail2ban.max_tries, 'failure')} each")


@pytest.mark.control("fail2ban-03")
@pytest.mark.probe(fail2ban.jails)
def test_operators_and_servers_are_spared(
    observation: Observation, settings: Settings, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """Every jail ignores operators, servers, the private network and the mesh, and nobody who is not named."""
    addresses = [word for one in inventory for word in (one.address, one.address6, one.private_address)]
    mesh = mesh_of(settings)
    own = [word for word in (*addresses, *(mesh.everybody if mesh else ())) if word]
    wanted = [*settings.firewall.operators, *own, "127.0.0.1", "::1"]
    declared = [*wanted, "127.0.0.0/8", settings.network.range, *settings.fail2ban.spared]
    wrong = []
    for name, jail in _server(observation)["jails"].items():
        if missing := networks.outside(wanted, jail["ignoreip"]):
            wrong.append(f"{name} would ban {', '.join(missing)}")
        if strangers := networks.outside(jail["ignoreip"], declared):
            wrong.append(f"{name} spares without being told to: {', '.join(strangers)}")
        if jail["ignorecommand"]:
            wrong.append(f"{name} spares whom {jail['ignorecommand']} says")
        if jail["spared"]:
            wrong.append(f"{name} has banned {count(jail['spared'], 'address', 'addresses')} that it should spare")
    judge(wrong)
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
@pytest.mark.probe(fail2ban.unit)
def test_the_server_is_told_nothing_else(observation: Observation, note: Callable[[str], None]) -> None:
    """Its unit is as Debian's package has it: nothing runs before or after the server, or keeps it from starting."""
    unit = units(observation.data)["fail2ban.service"]
    judge([*boots(unit), *told_besides(unit)])
    note(unit["FragmentPath"])


@pytest.mark.control("fail2ban-04")
@pytest.mark.probe(fail2ban.jails)
def test_bans_outlive_a_restart(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The database is on disk and holds all who are banned; fail2ban starts at boot, and nothing flushes its rules."""
    server = _server(observation)
    wrong = [] if server["dbfile"] else ["fail2ban keeps no database"]
    if server["filesystem"] in _IN_MEMORY:
        wrong.append(f"the database is in memory ({server['filesystem']})")
    if server["dbpurgeage"] is None or int(server["dbpurgeage"]) < settings.fail2ban.remember_days * 86400:
        wrong.append("ended bans are forgotten earlier")
    if server["boot"] != "enabled":
        wrong.append("fail2ban does not start at boot")
    if server["flusher"] == "enabled":
        wrong.append("nftables.service flushes all rules when it is started, stopped or reloaded")
    wrong += [
        f"{name}: {jail['not_kept']} of {jail['banned']} banned are not in the database"
        for name, jail in server["jails"].items()
        if jail["not_kept"]
    ]
    judge(wrong)
    note(f"{server['dbfile']}, kept for {count(settings.fail2ban.remember_days, 'day')}")
