"""How people and machines log in, by the server's effective settings and by logins that are really tried."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bastide.controls import count
from bastide.layout.ssh import UNIT
from bastide.machines import Machine
from bastide.mesh import mesh_of
from bastide.settings import Settings, key_blob
from tests.verify import networks
from tests.verify.findings import judge
from tests.verify.probes import ssh
from tests.verify.probes.ssh import effective, refused
from tests.verify.probes.updates import parsed
from tests.verify.probes.world import Observation, World

_PROGRAM = "/usr/sbin/sshd"
# how sshd shows itself, with the words that it was started with (Debian's unit has `-D` alone)
_TITLE = re.compile(r"sshd: /usr/sbin/sshd -D \[listener\] \d+ of \d+-\d+ startups")
# sshd_config(5), PerSourcePenalties: OpenSSH's own. Of what a failure costs, and how many addresses are remembered,
# more is stricter; of what nobody is refused below, less is
_LEAST_PENALTY = 15  # seconds
_PENALTIES = {
    **{"crash": 90, "authfail": 5, "noauth": 1, "grace-exceeded": 10, "refuseconnection": 10, "max": 600},
    **{"max-sources4": 65536, "max-sources6": 65536},
}
_LIMITS = ("maxauthtries", "logingracetime", "clientaliveinterval", "clientalivecountmax")
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


@pytest.mark.control("ssh-01", "ssh-02", "ssh-03", "ssh-04", "ssh-05")
@pytest.mark.probe(ssh.running)
def test_what_listens_is_the_server_of_the_settings(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """One ssh server listens, by the declared port alone: the unit's, without options, and it has read its files."""
    seen = parsed(observation.data, "what listens for ssh cannot be read")
    unit, wrong = seen["unit"], list[str]()
    if unit["program"] != _PROGRAM:
        wrong.append(f"{UNIT} runs {unit['program'] or 'nothing'}")
    elif not _TITLE.fullmatch(unit["line"]):
        wrong.append(f"sshd was started with other words than `sshd -D`: {unit['line']}")
    for one in seen["servers"]:
        at = f"{one['address']} port {one['port']}"
        if one["pid"] != unit["pid"]:
            wrong.append(f"another ssh server listens at {at} ({one['program'] or 'a program that is gone'})")
        elif one["port"] != settings.ssh.port:
            wrong.append(f"sshd also listens at {at}")
    if all(one["pid"] != unit["pid"] for one in seen["servers"]):
        wrong.append(f"{UNIT} listens nowhere")
    if unit["written"] > unit["read"]:
        wrong.append("the files were changed after sshd read them: it may run with other settings than they say")
    wrong += [f"sshd sees another file in the place of {path}" for path in unit["other"]]
    wrong += [f"sshd has loaded, or would load, what no package brought: {text}" for text in unit["loaded"]]
    wrong += [f"a Match block asks for {name}, which nobody can judge beforehand" for name in seen["unknown"]]
    judge(wrong)
    note(f"{unit['line'].partition(' [')[0]}, port {settings.ssh.port}; settings read after their last change")


@pytest.mark.control("ssh-01")
@pytest.mark.probe(ssh.effective_settings)
def test_effective_methods(observation: Observation, note: Callable[[str], None]) -> None:
    """For every account and from every address, the server's effective settings allow keys and nothing else."""
    answers = effective(observation.data)
    assert answers, "sshd -T says nothing"
    judge(
        f"{keyword} is {values.get(keyword, 'not told')} for {user} from {address}"
        for (user, address), values in answers.items()
        for keyword, wanted in _KEYS_ONLY.items()
        if values.get(keyword, "not told") != wanted
    )
    note(f"passwords, keyboard-interactive, host-based: no ({len(answers)} combinations of account and address)")


@pytest.mark.control("ssh-01")
@pytest.mark.probe(ssh.password_offers)
def test_password_gets_no_method(observation: Observation, note: Callable[[str], None]) -> None:
    """A client that asks for a password login is offered keys, whatever account it names."""
    judge(
        f"{user} is offered {', '.join(methods)}"
        for user, methods in observation.data.items()
        if methods != ["publickey"]
    )
    note(f"Authentications that can continue: publickey ({', '.join(observation.data)})")


@pytest.mark.control("ssh-02")
@pytest.mark.probe(ssh.effective_settings)
def test_effective_root_login(observation: Observation, note: Callable[[str], None]) -> None:
    """The server's effective settings refuse root from every address."""
    answers = {address: values for (user, address), values in effective(observation.data).items() if user == "root"}
    assert answers, "sshd -T says nothing of root"
    judge(
        f"permitrootlogin is {values.get('permitrootlogin')} from {address}"
        for address, values in answers.items()
        if values.get("permitrootlogin") != "no"
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
    """Attempts, time to log in and idle time are limited as declared, for whoever comes from wherever."""
    wanted, wrong = settings.ssh, list[str]()
    for (user, _), values in effective(observation.data).items():
        told = [values.get(keyword, "") for keyword in _LIMITS]
        if not all(word.isdigit() for word in told):
            wrong.append(f"the limits of {user} are not told")
            continue
        tries, grace, alive, silences = map(int, told)
        if tries > wanted.max_auth_tries:
            wrong.append(f"{user} may try {tries} times")
        if not 0 < grace <= wanted.login_grace_seconds:
            wrong.append(f"{user} has {grace} s to log in")
        if not 0 < alive * silences <= wanted.idle_minutes * 60:
            wrong.append(f"a silent client of {user} is kept for {alive * silences} s")
    judge(wrong)
    note(f"{wanted.max_auth_tries} tries, {wanted.login_grace_seconds} s")


@pytest.mark.control("ssh-04")
@pytest.mark.probe(ssh.effective_settings)
def test_penalties_spare_operators_only(
    observation: Observation, settings: Settings, world: World, note: Callable[[str], None]
) -> None:
    """Addresses that fail to log in are refused for a time; only the operators' networks and the mesh are spared."""
    values = next(iter(effective(observation.data).values()))
    penalties = values.get("persourcepenalties", "no")
    cost = re.search(r"authfail:(\d+)", penalties)
    wrong = [] if cost else ["the server keeps no penalties for failed logins"]
    if cost and int(cost[1]) == 0:
        wrong.append("a failed login costs no time")
    # sshd_config(5): what is below the least penalty is counted and not enforced
    least = re.search(r"\bmin:(\d+)", penalties)
    if cost and least and int(least[1]) > _LEAST_PENALTY:
        wrong.append(f"nobody is refused before penalties of {least[1]} s have come together")
    told = dict(re.findall(r"([a-z0-9-]+):(\d+)", penalties))
    wrong += [
        f"penalties have {name} {told[name]}, OpenSSH's own is {own}"
        for name, own in _PENALTIES.items()
        if cost and int(told.get(name, own)) < own
    ]
    # sshd_config(5): of which networks it counts the addresses as one, of IPv4 and of IPv6
    blocks = values.get("persourcenetblocksize", "not told")
    if blocks != "32:64":
        wrong.append(f"addresses are counted by networks of {blocks}: who has an IPv6 /64 has as many tries")
    exempt = [word for word in values.get("persourcepenaltyexemptlist", "none").split(",") if word != "none"]
    mesh = mesh_of(settings)
    operators = (*settings.firewall.operators, *(mesh.everybody if mesh else ()))
    if strangers := networks.outside(exempt, (*operators, world.settings.network.range)):
        wrong.append(f"spared without being operators: {', '.join(strangers)}")
    if punished := networks.outside(operators, exempt):
        wrong.append(f"operators who are not spared: {', '.join(punished)}")
    judge(wrong)
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
    assert machine.host_key, "no host key is recorded"
    assert observation.data, "the server shows no host key"
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
    wrong = []
    if used != [key_blob(machine.host_key)]:
        wrong.append(f"sshd uses {len(used)} host key(s), not just the recorded one")
    if len(files) != 1:
        wrong.append(f"host keys on disk: {', '.join(files) or 'none'}")
    if [rest for word, _, rest in lines if word == "bootstrap"]:
        wrong.append("the key of the first start is still in use")
    judge(wrong)
    note(files[0])
