"""What the operator's machine sees when it knocks: logins that must fail, keys that are shown, algorithms on offer."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from bastide.console import Completed, run
from bastide.machines import Machine
from bastide.settings import key_blob
from tests.verify.probes.engine import LAST, look
from tests.verify.probes.world import NotSeen, World

POLICY = "Hardened Debian 13 (version 1)"
_NOBODY = "bastide-no-such-user"
_METHODS = re.compile(r"Authentications that can continue: (\S+)")


@look()
def password_offers(world: World, machine: Machine) -> tuple[str, dict[str, list[str]]]:
    """The methods that are offered to a client that asks for a password, by user."""
    users = world.settings.users
    names = [users.automation.name, *sorted(users.people)[:1], "root", _NOBODY]
    ask = ("-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive")
    offers = {name: _methods(machine, world.knock(machine.name, "-l", name, *ask)) for name in names}
    return f"ssh {' '.join(ask)} {machine.name}", offers


@look()
def root_login(world: World, machine: Machine) -> tuple[str, Completed]:
    """A login as root with the automation account's own, valid key."""
    return f"ssh -l root {machine.name}", _refusable(machine, world.knock(machine.name, "-l", "root"))


@look()
def removed_logins(world: World, machine: Machine) -> tuple[str, dict[str, Completed]]:
    """Logins as each person who left, with a key that the server knows."""
    tries = {name: _refusable(machine, world.knock(machine.name, "-l", name)) for name in world.settings.users.removed}
    return f"ssh -l NAME {machine.name}", tries


@look()
def shown_keys(world: World, machine: Machine) -> tuple[str, set[str]]:
    """The host keys that are shown to somebody who asks for every kind."""
    words = ["ssh-keyscan", "-T", "5", "-p", str(world.settings.ssh.port), "-t", "rsa,ecdsa,ed25519"]
    words.append(world.inventory.ssh_address(machine))
    done = run(words, check=False, timeout=30)
    keys = {key_blob(line.partition(" ")[2]) for line in done.stdout.splitlines() if line and not line.startswith("#")}
    return f"ssh-keyscan -p {world.settings.ssh.port} -t rsa,ecdsa,ed25519 {machine.name}", keys


@look(order=LAST)
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


@look(order=LAST)
def still_welcome(world: World, machine: Machine) -> tuple[str, bool]:
    """Whether the operator still gets a connection after all the logins above that were refused."""
    return f"ssh {machine.name} true", world.knock(machine.name).ok


def refused(done: Completed) -> bool:
    """Whether the server turned the login down after it was asked (and did not merely stay silent)."""
    return not done.ok and "Permission denied" in done.stderr and "Offering public key" in done.stderr


def _refusable(machine: Machine, done: Completed) -> Completed:
    if not done.ok and not _METHODS.search(done.stderr):
        raise NotSeen(f"{machine.name} did not take part in a login", "is ssh reachable, is this address penalised?")
    return done


def _methods(machine: Machine, done: Completed) -> list[str]:
    found = _METHODS.findall(_refusable(machine, done).stderr)
    if done.ok:
        return ["none (the session opened without any key)"]
    return str(found[-1]).split(",")
