"""What fail2ban says, what the kernel does with it, and whether it sees the operator's own failed logins.

Nobody's address is banned: those tried are documentation addresses, and a spare one of the prober's own network. A
timer on the machine lifts each such ban after a minute, also when this process is killed.
"""

from __future__ import annotations

import atexit
import ipaddress
import json
import re
import secrets
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from bastide.console import run
from bastide.machines import Machine
from tests.verify.probes.batch import ask, command
from tests.verify.probes.engine import QUIET, Once, probe
from tests.verify.probes.fail2ban_state import JAIL, parse, state_command
from tests.verify.probes.listed import Text, listed
from tests.verify.probes.systemd import show
from tests.verify.probes.world import NotSeen, World

_SEEN_SECONDS = 8
_LIFTED_SECONDS = 60
UNKNOWN, PERSON = "a user who does not exist", "a user who exists"
_once = Once()
_ONE, _TWO = '"$1"', '"$2"'

# RFC 5737 and RFC 9637: addresses that nobody has
_NOBODYS = ("192.0.2.0/24", "3fff:fff::/32")
# nothing is left to be said of failures before this one
_SILENCE = """[ -z "$(journalctl -q -t fail2ban --since '1 second ago' -n 1)" ]"""
# From a spare address: does it answer a ping, and what becomes of a connection (port 0: not asked for)?
_FROM_SPARE = """
import json, socket, subprocess, sys
spare, target, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
def knock():
    try: socket.create_connection((target, port), 1.5, (spare, 0)).close(); return "open"
    except ConnectionRefusedError: return "closed"
    except OSError: return "filtered"
ping = subprocess.run(["ping", "-n", "-q", "-c", "1", "-W", "2", "-I", spare, target], capture_output=True)
print(json.dumps({"ping": ping.returncode == 0, "port": knock() if port else "not asked"}))
"""
# Only addresses of these networks: whoever may run this must not ban or spare anybody with it.
_MAY_BE_BANNED = """
import ipaddress, sys
networks = [ipaddress.ip_network(word) for word in sys.argv[1].split(",")]
given = [ipaddress.ip_address(word) for word in sys.argv[2:]]
sys.exit(not given or not all(any(one in network for network in networks) for one in given))
"""
# sudo keeps it from the script, and it stands with whoever called sudo
_CLIENT = """pid=$$
while [ "${pid:-0}" -gt 1 ]; do
  tr '\\0' '\\n' </proc/$pid/environ | sed -n 's/^SSH_CONNECTION=//p' | grep . && break
  pid=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$pid/status)
done"""

jails = command(
    "bans",
    state_command(),
    shows="fail2ban-client get JAIL OPTION (every jail); nft -j list ruleset; fail2ban's database",
)
unit = command("fail2banunit", show("fail2ban.service"))
client = command("client", _CLIENT, shows="echo $SSH_CONNECTION")


@dataclass(frozen=True)
class Watched:
    """What fail2ban made of failed logins from here. `spared`: whether it ignores these addresses (else none was made).

    `noticed`: by kind of account and protocol ("root over IPv4") whether it took notice of a login with a wrong key.
    `welcome`: whether a new login works after that.
    """

    spared: bool
    noticed: dict[str, bool] = field(default_factory=dict)
    welcome: bool = False


@dataclass(frozen=True)
class Held:
    """What became of addresses that failed: `early`, whether one was banned one failure too soon; `banned`, whether
    each is in the kernel's sets and the database after the last one."""

    early: bool
    banned: list[bool]


@dataclass(frozen=True)
class Dropped:
    """What a spare address of the prober got before, during and after its ban: a ping's answer, and a port's state."""

    port: int
    before: dict[str, Any]
    during: dict[str, Any]
    after: dict[str, Any]


def state(world: World, machine: Machine) -> dict[str, Any] | None:
    """fail2ban's state, out of the one batch; None when it does not answer."""
    return parse(ask(world, machine, jails).text)


@probe(order=QUIET, asks=(jails, client))
def watched(world: World, machine: Machine) -> tuple[str, Watched]:
    """Failed logins of the operator, one a kind of account, and the lines that fail2ban writes for a spared address.

    Over IPv6, too, where there is a way. Made only when these addresses are spared: a check must never get the operator
    banned.
    """
    server = state(world, machine)
    own = ask(world, machine, client).text.split()
    shown = f"ssh -i WRONG_KEY NAME@{machine.name}; journalctl -t fail2ban (root, people, automation, nobody)"
    if not own or server is None or not _ignored(own[0], server):
        return shown, Watched(spared=False)
    users = world.settings.users
    kinds = {UNKNOWN: f"nobody-{secrets.token_hex(4)}", "root": "root", "automation": users.automation.name}
    kinds[PERSON] = next(iter(sorted(users.people)), users.automation.name)
    ways = {"IPv4" if ":" not in own[0] else "IPv6": ""}
    if "IPv4" in ways and machine.address6 and (six := _seen_as(world, machine)) and _ignored(six, server):
        ways["IPv6"] = machine.address6
    seen = {
        f"{kind} over {family}": found
        for kind, name in kinds.items()
        for family, found in _noticed(world, machine, name, ways).items()
    }
    return shown, Watched(spared=True, noticed=seen, welcome=world.login(machine.name).ok)


@probe(asks=(jails,))
def held(world: World, machine: Machine) -> tuple[str, Held]:
    """What as many failures as may be come to, of two documentation addresses (RFC 5737, RFC 9637): whether each was
    banned too early, and whether it is in the kernel's sets and the database then."""
    ask(world, machine, jails)  # a ban makes fail2ban put rules back that somebody took away: look at these first
    # as fail2ban writes them: it would not find the ban of an address that is spelled otherwise
    four, six = (
        f"192.0.2.{secrets.randbelow(254) + 1}",
        str(ipaddress.IPv6Network("3fff:fff::/32")[secrets.randbits(48)]),
    )
    done = banned_for_a_moment.run(world, machine, four, six)
    lines = done.text.splitlines() or ["null"]
    server = parse(lines[-1])
    seen = server["jails"].get(JAIL, {}).get("test", [False]) if server else [False]
    tries = world.settings.fail2ban.max_tries
    shown = f"fail2ban-client set {JAIL} attempt 192.0.2.x (and 3fff:fff::x), {tries} times; nft list sets; its data"
    return shown, Held(early="early" in lines, banned=seen)


@probe(active=True, asks=(jails,))
def dropped(world: World, machine: Machine) -> tuple[str, Dropped]:
    """What a spare address of the prober gets before, during and after its ban on a machine."""
    prober = world.inventory.prober
    if prober is None or not prober.address6 or not machine.address6:
        raise NotSeen("the prober has no IPv6 network to take a spare address from", "give it one")
    ask(world, machine, jails)
    spare = _spare(prober.address6)
    port = _answering_port(world)
    device = "$(ip -6 -o route get " + machine.address6 + " | sed 's/.* dev \\([^ ]*\\).*/\\1/')"
    add = f"ip -6 address replace {spare}/128 dev {device} nodad valid_lft {_LIFTED_SECONDS} preferred_lft 0"
    attempt = f"python3 -c {quote(_FROM_SPARE)} {spare} {machine.address6} {port}"
    try:
        before = _tried(world, f"{add} && {attempt}")
        ban.run(world, machine, spare)
        during = _tried(world, attempt)
        lift.run(world, machine, spare)
        after = _tried(world, attempt)
    finally:
        lift.run(world, machine, spare)
        world.as_root(prober.name, f"ip -6 address del {spare}/128 dev {device}")
    shown = f"ping and connect to {port}" if port else "ping"
    return f"{prober.name}# {shown} from a spare address; fail2ban-client set {JAIL} banip ADDRESS", Dropped(
        port, before, during, after
    )


def _ignored(client: str, server: dict[str, Any]) -> bool:
    address = ipaddress.ip_address(client)
    return bool(server["jails"]) and all(
        any(address in ipaddress.ip_network(word, strict=False) for word in jail["ignoreip"])
        for jail in server["jails"].values()
    )


def _noticed(world: World, machine: Machine, user: str, ways: dict[str, str]) -> dict[str, bool]:
    """Whether fail2ban wrote a line of a failure after these, in a moment when nobody else failed: by protocol.

    `ways`: by protocol the address to come to, "" for that of the configuration.
    """
    key, kind = _once((world.stack, "wrong key"), lambda: _wrong_key(world))
    for _ in range(3):
        cursor = silence.run(world, machine).text
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(_wrong_login, world, machine, user, key, kind, address) for address in ways.values()]
            if not all(one.result() for one in done):
                raise NotSeen(f"{machine.name} did not take part in a login", "is ssh reachable?")
        said = noticed.run(world, machine, cursor, user, len(ways)).text.split()
        four, six, foreign = (int(word) for word in said[-3:])
        if not foreign:
            return {family: {"IPv4": four, "IPv6": six}[family] > 0 for family in ways}
    raise NotSeen(f"others fail to log in to {machine.name} all the time", "run the check again")


def _wrong_login(world: World, machine: Machine, user: str, key: Path, kind: str, address: str) -> bool:
    """A login with a wrong key and no other; whether the server took part in it."""
    words = ["-l", user, "-i", str(key), "-o", f"PubkeyAcceptedAlgorithms={kind}"]
    words += ["-o", f"HostName={address}"] if address else []
    return "Offering public key" in world.login(machine.name, *words).stderr


def _wrong_key(world: World) -> tuple[Path, str]:
    """A key that opens nothing, and its algorithm: another one than that of the automation's, whose own key the client
    would offer beside it."""
    rsa = world.settings.users.automation.key.startswith("ssh-ed25519 ")
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    key = Path(folder.name) / "key"
    more = ("rsa", "-b", "3072") if rsa else ("ed25519",)
    run(["ssh-keygen", "-q", "-t", *more, "-N", "", "-C", "wrong", "-f", key])
    return key, "rsa-sha2-512" if rsa else "ssh-ed25519"


def _seen_as(world: World, machine: Machine) -> str:
    """What this machine is seen as over IPv6: what the server says, since a router may make another one of it; or its
    own address, where the server lets nobody ask. "" without a way."""
    done = world.login(machine.name, "-o", f"HostName={machine.address6}", command="echo $SSH_CONNECTION")
    said = (done.stdout.split() or [""])[0]
    if re.fullmatch("[0-9a-fA-F.:]+", said):
        return said if ":" in said else ""
    # it says nothing, or that it says nothing to the account of the checks
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as to:
        try:
            to.connect((machine.address6, 9))  # sends nothing
        except OSError:
            return ""
        return str(to.getsockname()[0])


def _tried(world: World, script: str) -> dict[str, Any]:
    prober = world.inventory.prober
    try:
        found: dict[str, Any] = json.loads(world.as_root(prober.name if prober else "", script).text)
    except ValueError:
        raise NotSeen("the prober could not knock from a spare address", "are ip, ping and python3 there?") from None
    return found


def _answering_port(world: World) -> int:
    """A TCP port that strangers may reach; 0 when there is none."""
    if world.settings.ssh.open_to == "anywhere":
        return world.settings.ssh.port
    return next((item.port for item in world.settings.firewall.public if item.protocol == "tcp"), 0)


def _spare(address6: str) -> str:
    network = ipaddress.IPv6Network(f"{address6}/64", strict=False)
    return str(network[secrets.randbits(48) + 2**52])


def _ban(word: str) -> str:
    """Ban for as long as the probe lasts: the timer that lifts it is set first. `word`: the script's, "$1" say."""
    return f"{_timer(word)} && fail2ban-client set {JAIL} banip {word} >/dev/null"


def _timer(word: str) -> str:
    """What lifts the ban of an address in a minute, whatever becomes of the rest."""
    timer = f"systemd-run -q --collect --unit={_unit(word)} --on-active={_LIFTED_SECONDS}"
    return f"{timer} --timer-property=AccuracySec=1s fail2ban-client unban {word}"


def _lift(word: str) -> str:
    return f"fail2ban-client unban {word} >/dev/null; systemctl -q stop {_unit(word)}.timer 2>/dev/null; true"


def _unit(word: str) -> str:
    return f"bastide-lift-$(echo {word} | tr .: __)"


def _until(command: str) -> str:
    """Wait for a command to end with 0, a few seconds at most; what it waits for is judged afterwards."""
    return f"end=$(($(date +%s) + {_SEEN_SECONDS})); until {command} || [ $(date +%s) -ge $end ]; do sleep 0.1; done"


def _checked(script: Text) -> Text:
    """A script that bans and lifts, but only nobody's addresses, and spare ones of the prober's network."""

    def text(world: World, machine: Machine) -> str:
        prober = world.inventory.prober
        spare = (str(ipaddress.IPv6Network(f"{prober.address6}/64", strict=False)),) if prober else ()
        last = script if isinstance(script, str) else script(world, machine)
        return f'python3 -I -c {quote(_MAY_BE_BANNED)} {",".join((*_NOBODYS, *spare))} "$@" || exit 2\n{last}'

    return text


def _banned_by_failures(world: World, machine: Machine) -> str:
    """One failure less than may be, a look whether that banned somebody, and the last one. A timer lifts the bans."""
    few = " ".join("wrong" for _ in range(world.settings.fail2ban.max_tries - 1))
    lines = [f"{_timer(word)}" for word in (_ONE, _TWO)]
    lines += [f"fail2ban-client set {JAIL} attempt {word} {few} >/dev/null" for word in (_ONE, _TWO) if few]
    lines += [f"fail2ban-client get {JAIL} banip | grep -qwF -e {_ONE} -e {_TWO} && echo early"]
    lines += [f"fail2ban-client set {JAIL} attempt {word} wrong >/dev/null" for word in (_ONE, _TWO)]
    return "\n".join([*lines, state_command(), f"{_lift(_ONE)}; {_lift(_TWO)}"])


_LINES = 'journalctl -q -o cat --after-cursor="$(echo "$1" | tr .- \';=\')"'
_NOTICED = f"{_LINES} -t fail2ban | grep -cE ' (Ignore|Found) [0-9.]+( |$)'"
_NOTICED_SIX = f"{_LINES} -t fail2ban | grep -cE ' (Ignore|Found) [0-9a-f]*:[0-9a-f:]*( |$)'"
_BOTH = f'{{ {_NOTICED}; {_NOTICED_SIX}; }} | grep -vc "^0$" | grep -q "^$3"'
_OTHERS = f"{_LINES} -t sshd -t sshd-session | grep 'Failed \\|nvalid user\\|not allowed' | grep -vcw -- \"$2\""

banned_for_a_moment = listed("bans tried", _checked(_banned_by_failures))
ban = listed("ban", _checked(f"{_ban(_ONE)}\n{_until(f'nft list ruleset | grep -qF -- {_ONE}')}"))
lift = listed("lift", _checked(_lift(_ONE)))
# a cursor as a word has neither ; nor =
silence = listed(
    "silence", f"{_until(_SILENCE)}; journalctl -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p' | tr ';=' .-"
)
noticed = listed("noticed", f"{_until(_BOTH)}\n{_NOTICED}; {_NOTICED_SIX}; {_OTHERS}; true")
