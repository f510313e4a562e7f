"""What a machine says of itself when root asks: all of it in one round trip a machine.

Each command prints facts that may be shown to anybody: no password hash, no private key, no log line.
"""

from __future__ import annotations

import base64
import secrets
from functools import cache
from shlex import quote

from bastide.layout.updates import CONFIG, PROGRAM, TIMERS
from bastide.machines import Machine
from deploys.updates.deploy import program_text
from tests.verify.probes.engine import FIRST, Look, Once, look
from tests.verify.probes.jails import state_command
from tests.verify.probes.peers import state_command as mesh_command
from tests.verify.probes.world import Output, World

# RFC 5737: an address that nobody has, as the stranger in `sshd -T -C`
STRANGER = "203.0.113.9"
# journald's message about its own limits (sd-messages.h, SD_MESSAGE_JOURNAL_USAGE): what the running daemon goes by
_JOURNAL_USAGE = "ec387f577b844b8fa948f33cad9a75e6"
_METADATA = "http://169.254.169.254/hetzner/v1/metadata"
# of one unit a paragraph; a time is "@seconds" or empty
_UNITS = "systemctl show --timestamp=unix -p Id,LoadState,ActiveState,UnitFileState,ExecStart,NextElapseUSecRealtime"
_UNITS += ",Persistent,RandomizedDelayUSec,TimersCalendar,TimersMonotonic -- {units}"
_STAMPS = """for file in /var/lib/apt/periodic/upgrade-stamp /var/lib/apt/periodic/update-stamp \
    /var/lib/dpkg/info/unattended-upgrades.list; do
  stat -c '%Y %n' $file 2>/dev/null
done
sed -n 's/^Date: /Date: /p' /var/lib/apt/lists/*-security_InRelease; true"""
# all that are configured, then those that were ever fetched with their keys; a key that stands in a source's own file
# comes over several lines
_SOURCES = """python3 -I -c 'import apt_pkg
apt_pkg.init()
configured = apt_pkg.SourceList()
configured.read_main_list()
for one in configured.list: print("=", one.uri, one.dist)' &&
apt-get indextargets --format '# $(SITE) $(RELEASE) $(SIGNED_BY)'"""
# what a single source may say to be spared from checks (sources.list(5)); apt gives no account of it
_SPARED = "trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure|check-valid-until|check-date"
_OPTIONS = f"grep -rshiE '(^|[[ ])({_SPARED}) *[:=]' /etc/apt/sources.list /etc/apt/sources.list.d; true"
_KEYS_OF_APT = """for file in /etc/apt/trusted.gpg /etc/apt/trusted.gpg.d/*; do
  [ -e "$file" ] && { dpkg -S "$file" >/dev/null 2>&1 || echo "$file"; }
done; true"""
_once = Once()

# every pattern that any account's effective settings name, tried for every account: a Match block may name another one;
# `$a\` ends a last line that has no end, or the next account's first key would hide behind it
_KEYS = """{ sshd -T; @EFFECTIVE@; } 2>/dev/null | sed -n 's/^authorizedkeysfile //p' | tr ' ' '\\n' | sort -u |
while read -r pattern; do
  getent passwd | while IFS=: read -r user _ _ _ _ home _; do
    case $pattern in /*) file=$pattern ;; *) file=$home/$pattern ;; esac
    file=$(printf %s "$file" | sed "s,%u,$user,g;s,%h,$home,g")
    [ -f "$file" ] && sed -e "s,^,$user ," -e '$a\\' "$file"
  done
done; true"""
_SUDO = """getent passwd | cut -d: -f1 | while read -r user; do
  sudo -n -l -U "$user" 2>/dev/null | grep -q 'may run the following' && echo "$user"
done; true"""
_HOST_KEYS = """sshd -T | sed -n 's/^hostkey //p' | while read -r file; do
  key=$(ssh-keygen -y -f "$file" </dev/null | cut -d' ' -f1,2); echo "used $key"
  grep -rqsF "${key#* }" /var/lib/cloud/instance/user-data.txt && echo "bootstrap $key"
done
for file in /etc/ssh/ssh_host_*_key; do [ -e "$file" ] && echo "file $file"; done; true"""


# a Match block may let in an account that nobody declared, the system's own included: so every one is asked about
_ADMITTED = f"""getent passwd | cut -d: -f1 | while read -r user; do
  sshd -T -C "user=$user,host={STRANGER},addr={STRANGER}" | sed -n "s/^allowusers /$user /p"
done"""


def commands(world: World, machine: Machine) -> dict[str, str]:
    """The commands by name. Built from the settings, so that every declared and removed person is asked about."""
    users = world.settings.users
    names = ["root", users.automation.name, *users.people, *users.removed, "nobody"]
    addresses = [_first_address(world.settings.firewall.operators[0]), STRANGER, "127.0.0.1"]
    effective = "; ".join(
        f"echo '# {name} {address}'; sshd -T -C user={quote(name)},host={address},addr={address}"
        for name in names
        for address in addresses
    )
    usage = f"journalctl -q -b MESSAGE_ID={_JOURNAL_USAGE} -o json --output-fields=JOURNAL_NAME,MAX_USE,CURRENT_USE"
    return {
        "sshd": effective,
        "admitted": _ADMITTED,
        "accounts": "getent passwd",
        "locks": "passwd -S -a | cut -d' ' -f1,2",
        "keys": _KEYS.replace("@EFFECTIVE@", effective),
        "sudo": _SUDO,
        # with the group that an account has from the start, which no list of members shows
        "groups": 'getent passwd | cut -d: -f1 | while read -r user; do echo "$user $(id -Gn "$user")"; done',
        "hostkeys": _HOST_KEYS,
        "names": "hostname; readlink /etc/localtime; date +%Z",
        "clock": "systemd-detect-virt --container; timedatectl show -p NTPSynchronized --value",
        "journal": f"{usage}; systemd-analyze cat-config systemd/journald.conf",
        "oldest": "journalctl -q -n +1 -o short-unix | head -n 1 | cut -d. -f1",
        "rules": "nft -j list ruleset",
        "listeners": "ss -Hltun",
        "bans": state_command(),
        "mesh": mesh_command(),
        "aptconfig": "apt-config dump",
        "aptruns": f"date +%s; {_STAMPS}",
        "aptsources": _SOURCES,
        "aptoptions": _OPTIONS,
        "aptkeys": f"{_KEYS_OF_APT}; dpkg --verify debian-archive-keyring",
        "timers": _UNITS.format(
            units=" ".join(unit for timer in TIMERS for unit in (timer, timer.replace(".timer", ".service")))
        ),
        # the program as this project has it, not as it lies on the machine
        "pending": f"printf %s {_packed(program_text())} | base64 -d | python3 -I - look",
        "program": f"sha256sum {PROGRAM}; cat {CONFIG}",
        # of a machine's own, or its neighbours could not be told from it
        "metadata": f"curl -s -m 3 {_METADATA}/region; echo; curl -s -m 3 {_METADATA}/availability-zone",
    }


def ask(world: World, machine: Machine, name: str) -> Output:
    """One command's output. The first to ask asks for all that this session needs (`World.asked`)."""

    def batch() -> dict[str, Output]:
        wanted = {key: text for key, text in commands(world, machine).items() if key in world.asked}
        return world.batch(machine.name, wanted)

    outputs: dict[str, Output] = _once((world.stack, machine.name), batch)
    return outputs[name]


@cache
def asked(name: str) -> Look:
    """The look at one command's output; `data` is an `Output`."""

    @look(order=FIRST, asks=name)
    def inside(world: World, machine: Machine) -> tuple[str, Output]:
        output = ask(world, machine, name)
        return f"# {_SHOWN.get(name) or commands(world, machine)[name]}", output

    return inside


@look()
def metadata_without_root(world: World, machine: Machine) -> tuple[str, dict[str, Output]]:
    """The metadata service, asked by root first (it must answer, or its silence proves nothing), then by two others.

    The second one has a number that nobody can have thought of: a rule that names accounts is not enough.
    """
    wget = f"curl -sS -m 3 -o /dev/null -w '%{{http_code}}\\n' {_METADATA}/instance-id"
    number = secrets.randbelow(30_000) + 30_000
    other = f"setpriv --reuid={number} --regid={number} --clear-groups -- {wget}"
    outputs = world.batch(machine.name, {"root": wget, "nobody": f"runuser -u nobody -- {wget}", "any number": other})
    return f"# runuser -u nobody -- curl -m 3 {_METADATA}/instance-id", outputs


def listening(world: World, machine: Machine) -> dict[str, set[int]]:
    """The ports that something listens on, other than on loopback: {"tcp": {22}, "udp": {68}}."""
    found: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for line in ask(world, machine, "listeners").text.splitlines():
        kind, _, _, _, local = line.split()[:5]
        address, _, port = local.rpartition(":")
        if kind in found and not address.strip("[]").startswith(("127.", "::1")):
            found[kind].add(int(port))
    return found


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


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _first_address(network: str) -> str:
    return network.partition("/")[0]


# what a person would type, where the real command is a loop over all accounts
_SHOWN = {
    "sshd": "sshd -T -C user=NAME,addr=ADDRESS (every account, from an operator's, a stranger's and its own address)",
    "admitted": "sshd -T -C user=NAME (every account): AllowUsers",
    "keys": "cat of every file that sshd's AuthorizedKeysFile names, for every account",
    "sudo": "sudo -l -U NAME (every account)",
    "aptruns": "stat /var/lib/apt/periodic/*-stamp; grep ^Date: /var/lib/apt/lists/*-security_InRelease",
    "aptkeys": "dpkg -S /etc/apt/trusted.gpg.d/*; dpkg --verify debian-archive-keyring",
    "aptsources": "apt-get indextargets --format '$(SITE) $(RELEASE) $(SIGNED_BY)'; apt_pkg.SourceList of python3-apt",
    "pending": "python3 -I /usr/local/lib/bastide/updates.py look (the same text, sent along)",
    "hostkeys": "sshd -T | grep ^hostkey; ls /etc/ssh/ssh_host_*_key",
    "metadata": f"curl -s -m 3 {_METADATA}/{{region,availability-zone}}",
    "bans": "fail2ban-client get JAIL OPTION (every jail); nft -j list ruleset; fail2ban's database",
    "mesh": "wg show wg0 (public keys and allowed addresses); ls -l /etc/wireguard",
    "journal": "journalctl (journald's own account of its limits); systemd-analyze cat-config systemd/journald.conf",
}
