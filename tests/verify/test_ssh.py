"""How people and machines log in, by the server's effective settings and by logins that are really tried."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import pytest

from bastide.controls import count
from bastide.machines import Machine
from bastide.mesh import mesh_of
from bastide.settings import Settings, key_blob
from tests.verify.probes import ssh
from tests.verify.probes.ssh import effective, refused
from tests.verify.probes.world import Observation, World

# sshd_config(5): everything that lets somebody in without a key of their own
_KEYS_ONLY = {
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
    "permitemptypasswords": "no",
    "hostbasedauthentication": "no",
    "gssapiauthentication": "no",
    "kerberosauthentication": "no",
    "pubkeyauthentication": "yes",
}


@pytest.mark.control("ssh-01")
@pytest.mark.probe(ssh.effective_settings)
def test_effective_methods(observation: Observation, note: Callable[[str], None]) -> None:
    """For every account and from every address, the server's effective settings allow keys and nothing else."""
    answers = effective(observation.data)
    assert answers, "sshd -T says nothing"
    for (user, address), values in answers.items():
        for keyword, wanted in _KEYS_ONLY.items():
            found = values.get(keyword, "not told")
            assert found == wanted, f"{keyword} is {found} for {user} from {address}"
    note(f"passwords, keyboard-interactive, host-based: no ({len(answers)} combinations of account and address)")


@pytest.mark.control("ssh-01")
@pytest.mark.probe(ssh.password_offers)
def test_password_gets_no_method(observation: Observation, note: Callable[[str], None]) -> None:
    """A client that asks for a password login is offered keys, whatever account it names."""
    for user, methods in observation.data.items():
        assert methods == ["publickey"], f"{user} is offered {', '.join(methods)}"
    note("Authentications that can continue: publickey")


@pytest.mark.control("ssh-02")
@pytest.mark.probe(ssh.effective_settings)
def test_effective_root_login(observation: Observation, note: Callable[[str], None]) -> None:
    """The server's effective settings refuse root from every address."""
    answers = {address: values for (user, address), values in effective(observation.data).items() if user == "root"}
    assert answers, "sshd -T says nothing of root"
    for address, values in answers.items():
        assert values.get("permitrootlogin") == "no", (
            f"permitrootlogin is {values.get('permitrootlogin')} from {address}"
        )
    note("PermitRootLogin no")


@pytest.mark.control("ssh-02")
@pytest.mark.probe(ssh.root_login)
def test_root_is_refused(observation: Observation, note: Callable[[str], None]) -> None:
    """A login as root with a key that the server knows is refused."""
    assert refused(observation.data), "root was not refused"
    note("Permission denied (publickey)")


@pytest.mark.control("ssh-03")
@pytest.mark.probe(ssh.algorithm_policy)
def test_algorithms_keep_the_policy(observation: Observation, note: Callable[[str], None]) -> None:
    """ssh-audit finds that the server offers what the policy allows, and nothing else."""
    verdict = observation.data
    broken = sorted({str(error.get("mismatched_field")) for error in verdict.get("errors", [])})
    assert verdict.get("passed") is True, f"the policy is broken by: {', '.join(broken) or 'no answer'}"
    note(f"{verdict['policy']}: passed")


@pytest.mark.control("ssh-04")
@pytest.mark.probe(ssh.effective_settings)
def test_login_limits(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """Attempts, time to log in and idle time are limited as declared."""
    for (user, _), values in effective(observation.data).items():
        tries, grace = int(values["maxauthtries"]), int(values["logingracetime"])
        idle = int(values["clientaliveinterval"]) * int(values["clientalivecountmax"])
        assert tries <= settings.ssh.max_auth_tries, f"{user} may try {tries} times"
        assert 0 < grace <= settings.ssh.login_grace_seconds, f"{user} has {grace} s to log in"
        assert 0 < idle <= settings.ssh.idle_minutes * 60, f"a silent client of {user} is kept for {idle} s"
    note(f"{settings.ssh.max_auth_tries} tries, {settings.ssh.login_grace_seconds} s")


@pytest.mark.control("ssh-04")
@pytest.mark.probe(ssh.effective_settings)
def test_penalties_spare_operators_only(
    observation: Observation, settings: Settings, world: World, note: Callable[[str], None]
) -> None:
    """Addresses that fail to log in are refused for a time; only the operators' networks and the mesh are spared."""
    values = next(iter(effective(observation.data).values()))
    penalties = values.get("persourcepenalties", "no")
    cost = re.search(r"authfail:(\d+)", penalties)
    assert cost, "the server keeps no penalties for failed logins"
    assert int(cost[1]) > 0, "a failed login costs no time"
    # sshd_config(5): of which networks it counts the addresses as one, of IPv4 and of IPv6
    blocks = values.get("persourcenetblocksize", "not told")
    assert blocks == "32:64", f"addresses are counted by networks of {blocks}: who has an IPv6 /64 has as many tries"
    exempt = {_network(word) for word in values.get("persourcepenaltyexemptlist", "none").split(",") if word != "none"}
    operators = {_network(word) for word in settings.firewall.operators}
    mesh = mesh_of(settings)
    members = {_network(word) for word in (mesh.everybody if mesh else ())}
    own = (*operators, _network(world.settings.network.range), *members)
    strangers = [str(one) for one in exempt if not any(_inside(one, other) for other in own)]
    assert not strangers, f"spared without being operators: {', '.join(sorted(strangers))}"
    punished = [str(one) for one in operators | members if not any(_inside(one, other) for other in exempt)]
    assert not punished, f"operators who are not spared: {', '.join(sorted(punished))}"
    note(f"penalties: {penalties.partition(' ')[0]} ...; spared: {count(len(exempt), 'network')}")


@pytest.mark.control("ssh-04")
@pytest.mark.probe(ssh.still_welcome)
def test_operator_is_still_welcome(observation: Observation, note: Callable[[str], None]) -> None:
    """After all the refused logins of this run, the operator still gets in."""
    assert observation.data, "the operator's address is refused after failed logins"
    note("a new connection was accepted")


@pytest.mark.control("ssh-05")
@pytest.mark.probe(ssh.shown_keys)
def test_shows_the_recorded_key_only(observation: Observation, machine: Machine, note: Callable[[str], None]) -> None:
    """Asked for every kind of host key, the server shows the recorded one and no other."""
    assert observation.data, "the server shows no host key"
    assert machine.host_key, "no host key is recorded"
    assert observation.data == {key_blob(machine.host_key)}, (
        f"it shows {len(observation.data)} host key(s), not just the recorded one"
    )
    note(f"1 key, {machine.host_key.split()[0]}, as recorded")


@pytest.mark.control("ssh-05")
@pytest.mark.probe(ssh.host_keys)
def test_no_other_host_key_is_left(observation: Observation, machine: Machine, note: Callable[[str], None]) -> None:
    """The server has one host key on disk, and it is not the one that it was first started with."""
    lines = [line.partition(" ") for line in observation.data.text.splitlines()]
    used = [rest for word, _, rest in lines if word == "used"]
    files = [rest for word, _, rest in lines if word == "file"]
    assert used == [key_blob(machine.host_key)], f"sshd uses {len(used)} host key(s), not just the recorded one"
    assert len(files) == 1, f"host keys on disk: {', '.join(files)}"
    assert not [rest for word, _, rest in lines if word == "bootstrap"], "the key of the first start is still in use"
    note(files[0])


def _network(word: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(word.strip(), strict=False)


def _inside(
    one: ipaddress.IPv4Network | ipaddress.IPv6Network, other: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network) and one.subnet_of(other)
