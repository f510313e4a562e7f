"""How the ssh server is set up, and what it does: logins that must fail, keys that are shown, algorithms on offer."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from bastide.console import Completed, run
from bastide.layout.ssh import UNIT
from bastide.machines import Machine
from bastide.open_ports import listeners
from bastide.settings import key_blob
from tests.verify.probes.batch import command
from tests.verify.probes.engine import LAST, probe
from tests.verify.probes.scripts import script
from tests.verify.probes.world import NotSeen, Output, World

# RFC 5737: an address that nobody has, as the stranger in `sshd -T -C`
STRANGER = "203.0.113.9"
POLICY = "Hardened Debian 13 (version 1)"
CONFIG = "/etc/ssh/sshd_config"
_NOBODY = "bastide-no-such-user"
# of the system, in every Debian (base-passwd)
_SYSTEM = "daemon"
_METHODS = re.compile(r"Authentications that can continue: (\S+)")
_HOST_KEYS = """sshd -T | sed -n 's/^hostkey //p' | while read -r file; do
  key=$(ssh-keygen -y -f "$file" </dev/null | cut -d' ' -f1,2); echo "used $key"
  grep -rqsF "${key#* }" /var/lib/cloud/instance/user-data.txt && echo "bootstrap $key"
done
for file in /etc/ssh/ssh_host_*_key; do [ -e "$file" ] && echo "file $file"; done; true"""


def _settings_script(world: World, machine: Machine) -> str:
    """What the server's settings come to for every declared and removed person, root and others, from each address."""
    users = world.settings.users
    checks = [users.verification.name] if users.verification else []
    names = ["root", users.automation.name, *checks, *users.people, *users.removed, "nobody"]
    operator = world.settings.firewall.operators[0].partition("/")[0]
    own = [one for one in (machine.private_address, world.settings.mesh.get(machine.name, "")) if one]
    addresses = [operator, "127.0.0.1", "::1", *own, STRANGER]
    plan = {"config": CONFIG, "users": names, "addresses": addresses, "own": machine.address, "port": _port(world)}
    return script(plan, "sshd_config", "sshd_settings")


def _running_script(world: World, machine: Machine) -> str:
    """Who listens for ssh; what the platform itself has listening speaks something else, and is not knocked at."""
    known = [[one.port, one.units] for one in listeners(world.settings, machine.name) if one.port != _port(world)]
    return script({"config": CONFIG, "unit": UNIT, "known": known}, "sshd_config", "sshd_running")


def _port(world: World) -> int:
    return world.settings.ssh.port


effective_settings = command(
    "sshd",
    _settings_script,
    shows="sshd -T -C user=NAME,addr=ADDRESS (every account and way that a Match block names)",
)
running = command(
    "sshdruns",
    _running_script,
    shows="ss -Hltnp; ls -l /proc/PID/exe; cat /proc/PID/cmdline; systemctl show ssh; ls -lc /etc/ssh/sshd_config*",
)
host_keys = command("hostkeys", _HOST_KEYS, shows="sshd -T | grep ^hostkey; ls /etc/ssh/ssh_host_*_key")


@probe()
def password_offers(world: World, machine: Machine) -> tuple[str, dict[str, list[str]]]:
    """The methods that are offered to a client that asks for a password, by user."""
    users = world.settings.users
    names = [users.automation.name, *sorted(users.people), "root", _SYSTEM, _NOBODY]
    ask = ("-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive")
    offers = {name: _methods(machine, world.login(machine.name, "-l", name, *ask)) for name in names}
    return f"ssh {' '.join(ask)} {machine.name}", offers


@probe()
def root_login(world: World, machine: Machine) -> tuple[str, Completed]:
    """A login as root with the automation account's own, valid key."""
    return f"ssh -l root {machine.name}", refusable(machine, world.login(machine.name, "-l", "root"))


@probe()
def shown_keys(world: World, machine: Machine) -> tuple[str, set[str]]:
    """The host keys that are shown to somebody who asks for every kind."""
    words = ["ssh-keyscan", "-T", "5", "-p", str(world.settings.ssh.port), "-t", "rsa,ecdsa,ed25519"]
    words.append(world.inventory.ssh_address(machine))
    done = run(words, check=False, timeout=30)
    keys = {key_blob(line.partition(" ")[2]) for line in done.stdout.splitlines() if line and not line.startswith("#")}
    return f"ssh-keyscan -p {world.settings.ssh.port} -t rsa,ecdsa,ed25519 {machine.name}", keys


@probe(order=LAST)
def algorithm_policy(world: World, machine: Machine) -> tuple[str, dict[str, Any]]:
    """ssh-audit's verdict. Its connections never log in, which a server may take offence at: so it comes last."""
    port = str(world.settings.ssh.port)
    audit = ["--skip-rate-test", "-j", "-P", POLICY, "-p", port, world.inventory.ssh_address(machine)]
    done = run([sys.executable, "-m", "ssh_audit", *audit], check=False, timeout=60)
    try:
        verdict: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise NotSeen(f"ssh-audit could not look at {machine.name}", "run the command by hand to see why") from None
    return f"ssh-audit -P “{POLICY}” -p {port} {machine.name}", verdict


@probe(order=LAST)
def still_welcome(world: World, machine: Machine) -> tuple[str, bool]:
    """Whether the operator still gets a connection after all the logins above that were refused."""
    return f"ssh {machine.name} true", world.login(machine.name).ok


def effective(output: Output) -> dict[tuple[str, str], dict[str, str]]:
    """`sshd -T`'s answers by (user, address): keyword in lower case to value."""
    answers: dict[tuple[str, str], dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in output.text.splitlines():
        if line.startswith("# "):
            user, address = line[2:].split()
            current = answers[(user, address)] = {}
        else:
            keyword, _, value = line.partition(" ")
            current[keyword] = f"{current[keyword]} {value}" if keyword in current else value
    return answers


def refused(done: Completed) -> bool:
    """Whether the server turned the login down after it was asked (and did not merely stay silent)."""
    return not done.ok and "Permission denied" in done.stderr and "Offering public key" in done.stderr


def refusable(machine: Machine, done: Completed) -> Completed:
    """A login that the server took part in. Raises `NotSeen` for one that it stayed silent to."""
    if not done.ok and not _METHODS.search(done.stderr):
        raise NotSeen(f"{machine.name} did not take part in a login", "is ssh reachable, is this address penalised?")
    return done


def _methods(machine: Machine, done: Completed) -> list[str]:
    found = _METHODS.findall(refusable(machine, done).stderr)
    if done.ok:
        return ["none (the session opened without any key)"]
    return str(found[-1]).split(",")
