"""A stranger who guesses at logins is really banned, and nothing but the command or the clock lifts that.

Here ssh is open to everybody, so that the prober gets as far as an attacker of such a stack would. A ban is judged by
the kernel's set and by a connection that is dropped: sshd's own penalties refuse too, but they let it connect.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"

MACHINE = "standby"
SPARE = "::bad:1"  # a second address of the prober, in its own network
NOBODY = "192.0.2.50"  # RFC 5737

# Two connections, three refused keys each; what is asked of ssh is only that it tries.
_ATTACK = """
cd "$(mktemp -d)"; for n in 1 2 3; do ssh-keygen -q -t ed25519 -N '' -f key$n; done
for turn in 1 2 3; do
  timeout 20 ssh -n -b {source} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
    -o ConnectTimeout=4 -o IdentitiesOnly=yes -i key1 -i key2 -i key3 {user}@{target} true 2>/dev/null
done; true
"""
_KNOCK = """python3 -c '
import socket, sys
try: socket.create_connection((sys.argv[2], 22), 2, (sys.argv[1], 0)).close(); print("open")
except ConnectionRefusedError: print("closed")
except OSError: print("dropped")' {source} {target}"""
# Connects, waits for a sign, and says what comes to its next word: the server's turn in the key exchange, or nothing.
_HOLD = """cat > /run/held.py <<'END'
import os, socket, sys, time
line = socket.create_connection((sys.argv[1], 22), 5)
print(line.recv(99).decode().strip(), flush=True)
end = time.monotonic() + 25
while not os.path.exists("/run/held.go") and time.monotonic() < end:
    time.sleep(0.1)
line.settimeout(3)
try:
    line.sendall(b"SSH-2.0-x\\r\\n")
    print("then", "an answer" if line.recv(9) else "the end", flush=True)
except TimeoutError:
    print("then silence", flush=True)
END
rm -f /run/held.go; nohup python3 /run/held.py {target} >/run/held 2>&1 </dev/null &"""


class Stranger:
    """The prober as an attacker, from one of its addresses against the machine's of the same family."""

    def __init__(self, rehearsal: Rehearsal, source: str, target: str) -> None:
        self.rehearsal, self.source, self.target = rehearsal, source, target

    def attack(self, user: str) -> None:
        self.rehearsal.ssh("prober", _ATTACK.format(source=self.source, target=self.target, user=user), check=True)

    def knock(self) -> str:
        done = self.rehearsal.ssh("prober", _KNOCK.format(source=self.source, target=self.target), check=True)
        return done.stdout.strip()

    def is_in_the_set(self) -> bool:
        name = "addr6-set-sshd" if ":" in self.source else "addr-set-sshd"
        rules = self.rehearsal.exec(MACHINE, f"nft list set inet f2b-table {name} 2>&1 || true").stdout
        return f" {self.source} " in rules.replace(",", " ")


@pytest.fixture(scope="module")
def opened(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """The stack with ssh open to everybody, in both firewalls; closed again at the end."""
    with rehearsal.settings_changed("ssh.open_to", "anywhere"):
        _apply(rehearsal)
        yield rehearsal
    rehearsal.exec(MACHINE, "fail2ban-client unban --all")
    _apply(rehearsal)


@pytest.fixture(scope="module")
def four(opened: Rehearsal) -> Stranger:
    inventory = opened.inventory()
    assert inventory.prober is not None
    return Stranger(opened, inventory.prober.address, inventory[MACHINE].address)


@pytest.fixture(scope="module")
def six(opened: Rehearsal) -> Iterator[Stranger]:
    inventory = opened.inventory()
    assert inventory.prober is not None
    source = inventory.prober.address6.rpartition("::")[0] + SPARE
    opened.ssh("prober", f"ip -6 address replace {source}/128 dev eth0 nodad", check=True)
    yield Stranger(opened, source, inventory[MACHINE].address6)
    opened.ssh("prober", f"ip -6 address del {source}/128 dev eth0")


def test_a_user_who_does_not_exist_is_banned(four: Stranger) -> None:
    assert four.knock() == "open"
    four.attack("oracle")
    wait_for(four.is_in_the_set, "the prober is banned")
    assert four.knock() == "dropped"


def test_a_user_who_exists_is_banned(six: Stranger) -> None:
    """With passwords off, the stock filter never does this."""
    assert six.knock() == "open"
    six.attack("anna")
    wait_for(six.is_in_the_set, "the prober is banned")
    assert six.knock() == "dropped"


def test_the_others_still_serve_the_banned(four: Stranger, opened: Rehearsal) -> None:
    other = Stranger(opened, four.source, opened.inventory()["primary"].address)
    assert other.knock() == "open"


def test_a_ban_survives_a_firewall_deploy(four: Stranger, six: Stranger, opened: Rehearsal) -> None:
    with opened.settings_changed("firewall.public", [{"port": 443, "protocol": "tcp", "reason": "web"}]):
        opened.deploy("--limit", MACHINE, "--data", "only=firewall")
        assert "443" in opened.exec(MACHINE, "nft list table inet bastide").stdout
        assert four.is_in_the_set()
        assert (four.knock(), six.knock()) == ("dropped", "dropped")
    opened.deploy("--limit", MACHINE, "--data", "only=firewall")
    assert (four.knock(), six.knock()) == ("dropped", "dropped")


def test_a_ban_survives_flushed_rules_with_the_next_deploy(four: Stranger, opened: Rehearsal) -> None:
    opened.exec(MACHINE, "nft flush ruleset")
    assert not four.is_in_the_set()
    opened.deploy("--limit", MACHINE, "--data", "only=firewall,fail2ban")
    assert four.is_in_the_set()
    assert four.knock() == "dropped"
    assert _unchanged(opened)


def test_a_ban_survives_a_power_cut(four: Stranger, six: Stranger, opened: Rehearsal) -> None:
    opened.lab("crash", MACHINE)
    opened.lab("start", MACHINE)
    wait_for(lambda: opened.ssh(MACHINE, "true").ok, f"{MACHINE} answers ssh")
    wait_for(lambda: four.is_in_the_set() and six.is_in_the_set(), "both are banned again")
    assert (four.knock(), six.knock()) == ("dropped", "dropped")
    assert _unchanged(opened)


def test_the_command_lists_and_frees(four: Stranger, six: Stranger, opened: Rehearsal) -> None:
    said = opened.make("bans", f"limit={MACHINE}")
    assert f"sshd: {four.source} since " in said.stdout + said.stderr
    for stranger in (four, six):
        said = opened.make("unban", f"address={stranger.source}")
        assert f"{stranger.source} was banned by sshd since" in said.stdout + said.stderr
        assert not stranger.is_in_the_set()
        assert stranger.knock() == "open"
    said = opened.make("unban", f"address={four.source}")
    assert f"{four.source} is not banned here" in said.stdout + said.stderr


def test_each_further_ban_lasts_longer(opened: Rehearsal) -> None:
    """Bans of a second, of an address that nobody has: what counts is that the second one is twice as long."""

    def ban() -> str:
        # asked inside the machine, without a pause: the first ban is over in two seconds
        script = (
            f"for n in 1 2 3 4 5; do fail2ban-client set sshd attempt {NOBODY} x; done >/dev/null;"
            f" for try in $(seq 100); do fail2ban-client get sshd banip --with-time | grep -F {NOBODY} && break;"
            " sleep 0.1; done"
        )
        length = opened.exec(MACHINE, script).stdout.partition("+ ")[2].split()[0]
        wait_for(lambda: NOBODY not in _banned(opened), "the ban ends")
        return length

    opened.exec(MACHINE, "fail2ban-client set sshd bantime 2")
    try:
        assert [ban(), ban(), ban()] == ["2", "4", "8"]
    finally:
        opened.exec(MACHINE, f"fail2ban-client set sshd bantime 3600; fail2ban-client unban {NOBODY}")


def test_what_others_write_into_the_log_bans_nobody(opened: Rehearsal) -> None:
    """An account without rights writes lines as of failed logins, under the name of the ssh server."""
    line = f"Failed publickey for root from {NOBODY} port 22 ssh2: ED25519 SHA256:x"
    # it lives on for a moment: the journal reads a program's name from the process
    program = (
        f'import syslog, time; syslog.openlog("sshd", syslog.LOG_PID, syslog.LOG_AUTH);'
        f' [syslog.syslog("{line}") for n in range(6)]; time.sleep(1)'
    )
    script = (
        "cp $(readlink -f /usr/bin/python3) /var/tmp/sshd && chmod 755 /var/tmp/sshd;"
        f" PYTHONHOME=/usr runuser -u nobody -- /var/tmp/sshd -c '{program}'; rm /var/tmp/sshd; date +%s"
    )
    since = opened.exec(MACHINE, script).stdout.strip()
    # what comes after it in the log has been read when it is answered for
    assert not opened.ssh(MACHINE, "true", user="anna").ok
    seen = f"journalctl -qu fail2ban --since=@{since} -o cat | grep -c Ignore || true"
    wait_for(lambda: opened.exec(MACHINE, seen).stdout.strip() != "0", "the jail read on")
    assert NOBODY not in _banned(opened)


def test_the_operator_is_never_banned(opened: Rehearsal) -> None:
    for _ in range(8):
        assert not opened.ssh(MACHINE, "true", user="anna").ok
    assert _banned(opened).strip() == ""
    assert opened.ssh(MACHINE, "true").ok


def test_an_open_connection_ends_when_its_network_is_let_in_no_more(opened: Rehearsal) -> None:
    """Nobody has to look who is still there: the machine's own firewall answers him no more, whatever he has open."""
    inventory = opened.inventory()
    assert inventory.prober is not None
    opened.ssh("prober", _HOLD.format(target=inventory[MACHINE].address), check=True)
    wait_for(lambda: "SSH-2.0" in opened.ssh("prober", "cat /run/held").stdout, "the prober is connected")
    with opened.settings_changed("ssh.open_to", "operators"):
        opened.deploy("--limit", MACHINE, "--data", "only=firewall")
        assert opened.ssh(MACHINE, "true").ok
        opened.ssh("prober", "touch /run/held.go", check=True)
        wait_for(lambda: "then" in opened.ssh("prober", "cat /run/held").stdout, "the prober has tried")
        said = opened.ssh("prober", "cat /run/held; rm -f /run/held*").stdout
    opened.deploy("--limit", MACHINE, "--data", "only=firewall")
    assert said.endswith("then silence\n"), said
    assert _unchanged(opened)


def test_jails_that_nobody_declares_any_more_go(opened: Rehearsal) -> None:
    path = "/etc/fail2ban/jail.d/bastide-gone.local"
    opened.exec(MACHINE, f"cp /etc/fail2ban/jail.d/bastide-ssh.local {path}")
    opened.deploy("--limit", MACHINE, "--data", "only=fail2ban")
    assert opened.exec(MACHINE, f"ls {path} 2>&1 || true").stdout.startswith("ls: cannot")
    assert _unchanged(opened)


def test_a_jail_that_cannot_start_is_taken_back(opened: Rehearsal) -> None:
    broken = "/etc/fail2ban/jail.d/zz-broken.local"
    opened.exec(MACHINE, f"printf '[sshd]\\nfilter = no-such-filter\\n' > {broken}")
    try:
        with opened.settings_changed("fail2ban", {"max_tries": 6}):
            done = opened.deploy("--limit", MACHINE, "--data", "only=fail2ban", check=False)
    finally:
        opened.exec(MACHINE, f"rm {broken}")
    said = done.stdout + done.stderr
    assert not done.ok
    assert "no-such-filter" in said, said
    assert "The old state is back" in said, said
    assert "maxretry = 5" in opened.exec(MACHINE, "cat /etc/fail2ban/jail.d/bastide.local").stdout


def _banned(rehearsal: Rehearsal) -> str:
    return rehearsal.exec(MACHINE, "fail2ban-client get sshd banip --with-time").stdout


def _apply(rehearsal: Rehearsal) -> None:
    rehearsal.pulumi("up", "--yes", "--skip-preview")
    rehearsal.deploy("--data", "only=ssh,firewall,fail2ban")


def _unchanged(rehearsal: Rehearsal) -> bool:
    """Whether a further deploy would do nothing."""
    return rehearsal.dry("--limit", MACHINE, "--data", "only=ssh,firewall,fail2ban") == {}
