"""The wrong ways to do it, one table: what a hurried person, a package or an attacker leaves behind on a machine.

Each has to turn its control red. A sabotage breaks one machine by a shell script that runs as root inside it, past ssh
and past every deploy, and puts back what it changed. `{person}` and the like are filled from the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bastide.settings import Settings

# Controls that no container can prove, so that none can be broken here either.
NOT_IN_THE_LAB = {"base-01": "a container has no clock of its own; breaking it would break the host's"}

_EARLY = "/etc/ssh/sshd_config.d/00-a-sabotage.conf"  # sorts before the platform's own, and sshd takes the first value
_JOURNAL = "/etc/systemd/journald.conf.d/zz-sabotage.conf"  # sorts last, and journald takes the last value
# a public key whose private part was never kept
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEVVB8Ak6bPd3q8FfLk0n7z2WbqWnS2N0y5bT0i3QH1c sabotage"
_JOURNALD = "systemctl reset-failed systemd-journald; systemctl restart systemd-journald"  # past its start limit
_RELOAD = "sshd -t && systemctl reload ssh"
# the file that sshd really reads for an account, and a key added to it
_KEY_FILE = (
    "keys() {{ home=$(getent passwd $1 | cut -d: -f6); sshd -T | sed -n 's/^authorizedkeysfile //p' | cut -d' ' -f1"
    ' | sed "s,%u,$1,;s,%h,$home,;s,^[^/],$home/&,"; }}'
)
_SUDOERS = "/etc/sudoers.d/zz-sabotage"
_SAVE_RULES = "nft -s list ruleset > /run/sabotage.nft"
_LOAD_RULES = "( echo flush ruleset; cat /run/sabotage.nft ) | nft -f - && rm /run/sabotage.nft"
_LIAR = """import http.server
class Liar(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"{region}" if self.path.endswith("region") else b"{zone}"
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *words): pass
http.server.HTTPServer(("169.254.169.254", 80), Liar).serve_forever()
"""


@dataclass(frozen=True)
class Sabotage:
    """One wrong way.

    `says` is a part of what its check must give as the reason: red for another reason is not caught. `opened` are rules
    added to the provider's firewall for as long as it lasts.
    """

    control: str
    what: str
    says: str
    break_: str
    undo: str
    machine: str = "standby"
    opened: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """How pytest and the table call it."""
        return f"{self.control}: {self.what}"

    def scripts(self, settings: Settings) -> tuple[str, str]:
        """Breaking and undoing, for these settings."""
        people = settings.users.people
        values = {
            "person": next(name for name, person in people.items() if not person.sudo),
            "removed": settings.users.removed[0],
            "automation": settings.users.automation.name,
            "automation_key": settings.users.automation.key,
            "network": settings.network.range,
            "timezone": settings.base.timezone,
        }
        return self.break_.format(**values), self.undo.format(**values)


def _sshd(control: str, what: str, says: str, lines: str, machine: str = "standby") -> Sabotage:
    """A drop-in that sshd reads before the platform's."""
    return Sabotage(
        control,
        what,
        says,
        f"printf '%s\\n' '{lines}' > {_EARLY} && {_RELOAD}",
        f"rm -f {_EARLY} && {_RELOAD}",
        machine,
    )


def _rules(control: str, what: str, says: str, commands: str) -> Sabotage:
    """Changed rules of the machine's own firewall."""
    return Sabotage(control, what, says, f"{_SAVE_RULES} && {commands}", _LOAD_RULES)


def _liar(control: str, what: str, says: str, region: str, zone: str) -> Sabotage:
    """A metadata service of its own, that tells another place: how a machine that stands elsewhere would answer."""
    program = _LIAR.replace("{region}", region).replace("{zone}", zone).replace("{", "{{").replace("}", "}}")
    return Sabotage(
        control,
        what,
        says,
        f"cat > /run/liar.py <<'END'\n{program}END\n"
        "ip address add 169.254.169.254/32 dev lo && systemd-run -q --unit=liar python3 /run/liar.py"
        " && for i in 1 2 3 4 5 6 7; do curl -s -m 1 -o /dev/null http://169.254.169.254/ && break; sleep 0.1; done",
        "systemctl stop liar; ip address del 169.254.169.254/32 dev lo; rm -f /run/liar.py",
    )


def _hole(control: str, what: str, says: str, port: int, networks: list[str]) -> Sabotage:
    """A service that somebody opened in both firewalls."""
    family = "ipv6" if ":" in networks[0] else "ipv4"
    listener = f"import socket, time; s = socket.create_server((str(), {port}), family=socket.AF_INET6"
    listener += ", dualstack_ipv6=True); time.sleep(600)"
    return Sabotage(
        control,
        what,
        says,
        f"{_SAVE_RULES} && nft insert rule inet bastide input meta nfproto {family} tcp dport {port} accept"
        f" && systemd-run -q --unit=hole python3 -c '{listener}'",
        f"systemctl stop hole; {_LOAD_RULES}",
        opened=({"direction": "in", "protocol": "tcp", "port": str(port), "source_ips": networks},),
    )


SABOTAGES: tuple[Sabotage, ...] = (
    _liar("site-01", "a server in the United States", "it stands in ash", "us-east", "ash-dc1"),
    _liar("site-02", "the standby in the primary's country", "both stand in", "eu-central", "nbg1-dc3"),
    Sabotage(
        "users-01",
        "an account nobody declared",
        "not declared: mallory",
        "useradd -m -s /bin/bash mallory",
        "userdel -rf mallory",
    ),
    Sabotage(
        "users-01",
        "a second root",
        "toor",
        "useradd -o -u 0 -M -s /bin/sh toor",
        "sed -i /^toor:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow",
    ),
    Sabotage(
        "users-01",
        "an account without a password",
        "usable without a key",
        "passwd -q -d {person}",
        "passwd -q -l {person}",
    ),
    _sshd(
        "users-01",
        "a system account let in by a Match block",
        "for backup the server admits backup",
        "Match User backup\n    AllowUsers backup\n    AuthorizedKeysFile /etc/backup_keys",
    ),
    Sabotage(
        "users-02",
        "a second key in somebody's file",
        "key(s) that the stack file does not name",
        f"{_KEY_FILE}; cp -p $(keys {{person}}) /run/keys && echo '{_KEY}' >> $(keys {{person}})",
        f"{_KEY_FILE}; cat /run/keys > $(keys {{person}}) && rm /run/keys",
    ),
    Sabotage(
        "users-02",
        "a key for root",
        "root has 1 key(s)",
        f"{_KEY_FILE}; mkdir -p /root/.ssh && echo '{_KEY}' > $(keys root)",
        f"{_KEY_FILE}; rm $(keys root)",
    ),
    _sshd(
        "users-02",
        "keys from a command",
        "authorizedkeyscommand is",
        "AuthorizedKeysCommand /usr/bin/true\nAuthorizedKeysCommandUser nobody",
    ),
    Sabotage(
        "users-02",
        "the account's own key file counts again",
        "key(s) that the stack file does not name",
        "f=$(sshd -T | sed -n 's/^authorizedkeysfile //p')"
        f" && echo AuthorizedKeysFile $f .ssh/authorized_keys2 > {_EARLY} && {_RELOAD}"
        f" && d=$(getent passwd {{person}} | cut -d: -f6)/.ssh && mkdir -p $d && echo '{_KEY}' > $d/authorized_keys2",
        f"rm -f {_EARLY} && {_RELOAD}; rm $(getent passwd {{person}} | cut -d: -f6)/.ssh/authorized_keys2",
    ),
    Sabotage(
        "users-03",
        "sudo without a password, by a drop-in",
        "sudo without being declared",
        f"echo '{{person}} ALL=(ALL) NOPASSWD: ALL' > {_SUDOERS} && chmod 440 {_SUDOERS}",
        f"rm {_SUDOERS}",
    ),
    Sabotage(
        "users-03",
        "sudo for one harmless-looking command",
        "sudo without being declared",
        f"echo '{{person}} ALL=(ALL) NOPASSWD: /usr/bin/less' > {_SUDOERS} && chmod 440 {_SUDOERS}",
        f"rm {_SUDOERS}",
    ),
    Sabotage(
        "users-03",
        "a member of the group disk",
        "members: disk",
        "gpasswd -a {person} disk",
        "gpasswd -d {person} disk",
    ),
    Sabotage(
        "users-04",
        "somebody who left is back, key and all",
        "still there",
        f"useradd -m -s /bin/bash {{removed}}; {_KEY_FILE}; f=$(keys {{removed}}); mkdir -p $(dirname $f)"
        f"; echo '{_KEY}' > $f",
        f"{_KEY_FILE}; rm -f $(keys {{removed}}); userdel -rf {{removed}}",
    ),
    Sabotage(
        "users-04",
        "somebody who left was only locked",
        "still there",
        "useradd -m -s /bin/bash {removed} && usermod -L {removed}",
        "userdel -rf {removed}",
    ),
    Sabotage(
        "users-05",
        "the automation key opens a person's account",
        "the automation key opens",
        f"{_KEY_FILE}; cp -p $(keys {{person}}) /run/keys && echo '{{automation_key}}' >> $(keys {{person}})",
        f"{_KEY_FILE}; cat /run/keys > $(keys {{person}}) && rm /run/keys",
    ),
    _sshd("users-05", "forwarding is on", "allowtcpforwarding is yes", "DisableForwarding no\nAllowTcpForwarding yes"),
    _sshd(
        "ssh-01",
        "passwords on, in a file that is read earlier",
        "is offered publickey, password",
        "PasswordAuthentication yes\nAuthenticationMethods any",
    ),
    _sshd(
        "ssh-01",
        "passwords on for one person",
        "passwordauthentication is yes",
        "Match User {person}\nPasswordAuthentication yes\nAuthenticationMethods any",
    ),
    _sshd(
        "ssh-01",
        "passwords by the keyboard-interactive door",
        "is offered publickey, keyboard-interactive",
        "KbdInteractiveAuthentication yes\nAuthenticationMethods any",
    ),
    _sshd(
        "ssh-02",
        "root with a key, as Debian has it",
        "permitrootlogin is without-password",
        "PermitRootLogin prohibit-password",
    ),
    _sshd(
        "ssh-02",
        "root from inside only",
        "permitrootlogin is yes from 127.0.0.1",
        "Match Address 127.0.0.1\nPermitRootLogin yes",
    ),
    Sabotage(
        "ssh-02",
        "root with the automation key",
        "root was not refused",
        f"{_KEY_FILE}; mkdir -p /root/.ssh && echo '{{automation_key}}' > $(keys root)"
        f" && printf 'PermitRootLogin yes\\nAllowUsers root\\n' > {_EARLY} && {_RELOAD}",
        f"{_KEY_FILE}; rm -f {_EARLY} && {_RELOAD}; rm $(keys root)",
    ),
    _sshd(
        "ssh-03",
        "a key exchange of 2005",
        "Key exchanges",
        "KexAlgorithms mlkem768x25519-sha256,diffie-hellman-group14-sha1",
    ),
    _sshd("ssh-03", "a message code with SHA-1", "MACs", "MACs hmac-sha2-512-etm@openssh.com,hmac-sha1"),
    _sshd("ssh-03", "ciphers in CBC mode", "Ciphers", "Ciphers aes256-gcm@openssh.com,aes256-cbc"),
    _sshd(
        "ssh-04",
        "everybody is spared from penalties",
        "spared without being operators",
        "PerSourcePenaltyExemptList 0.0.0.0/0,::/0",
    ),
    _sshd("ssh-04", "a failed login costs nothing", "a failed login costs no time", "PerSourcePenalties authfail:0"),
    _sshd("ssh-04", "operators are not spared", "operators who are not spared", "PerSourcePenaltyExemptList {network}"),
    _sshd("ssh-04", "twenty tries a connection", "may try 20 times", "MaxAuthTries 20"),
    Sabotage(
        "ssh-05",
        "another host key",
        "it shows 1 host key(s), not just the recorded one",
        f"ssh-keygen -q -t ed25519 -N '' -f /run/other_key && echo 'HostKey /run/other_key' > {_EARLY}"
        " && f=$(grep -l ^HostKey /etc/ssh/sshd_config.d/*.conf | grep -v sabotage)"
        f" && sed -i.sabotage 's/^HostKey /#&/' $f && {_RELOAD}",
        f"rm -f {_EARLY} /run/other_key*; for f in /etc/ssh/sshd_config.d/*.sabotage"
        f"; do mv $f ${{{{f%.sabotage}}}}; done; {_RELOAD}",
    ),
    Sabotage(
        "ssh-05",
        "a second host key of another kind",
        "it shows 2 host key(s)",
        "ssh-keygen -q -t rsa -b 3072 -N '' -f /run/other_key"
        f" && printf 'HostKey /run/other_key\\nHostKeyAlgorithms ssh-ed25519,rsa-sha2-512\\n' > {_EARLY} && {_RELOAD}",
        f"rm -f {_EARLY} /run/other_key* && {_RELOAD}",
    ),
    Sabotage(
        "ssh-05",
        "a host key of the image is left on disk",
        "host keys on disk",
        "ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/ssh_host_ecdsa_key",
        "rm /etc/ssh/ssh_host_ecdsa_key /etc/ssh/ssh_host_ecdsa_key.pub",
    ),
    _hole("firewall-01", "a service opened to everybody", "tcp/8080 (open)", 8080, ["0.0.0.0/0"]),
    _hole("firewall-01", "a database opened to everybody", "tcp/5432 (open)", 5432, ["0.0.0.0/0"]),
    _hole("firewall-02", "a service opened over IPv6 only", "tcp/8080 (open)", 8080, ["::/0"]),
    _rules(
        "firewall-03",
        "the rules are flushed; the provider's firewall still stands",
        "a neighbour gets through to",
        "nft flush ruleset",
    ),
    _rules(
        "firewall-03",
        "what is not named is let in",
        "what is not named is let in over IPv4",
        "nft chain inet bastide input '{{ policy accept; }}'",
    ),
    _rules(
        "firewall-03",
        "the private network is trusted",
        "a neighbour gets through to",
        "nft insert rule inet bastide input ip saddr {network} accept",
    ),
    _rules(
        "firewall-03",
        "IPv6 was forgotten",
        "a rule lets everything in over IPv6",
        "nft insert rule inet bastide input meta nfproto ipv6 accept",
    ),
    _rules(
        "firewall-04",
        "the metadata rule is gone",
        "an account without rights gets an answer",
        "nft flush chain inet bastide output",
    ),
    _rules(
        "firewall-04",
        "the metadata rule names one account only",
        "an account without rights gets an answer",
        "nft flush chain inet bastide output"
        " && nft add rule inet bastide output ip daddr 169.254.169.254 meta skuid 33 drop",
    ),
    _rules(
        "firewall-04",
        "containers were forgotten",
        "forwarded traffic may go to the metadata service",
        "nft flush chain inet bastide forward && nft chain inet bastide forward '{{ policy accept; }}'",
    ),
    Sabotage(
        "base-02",
        "the journal may grow to four gigabytes",
        "journald allows itself 4096 MB",
        f"printf '[Journal]\\nSystemMaxUse=4G\\n' > {_JOURNAL} && {_JOURNALD}",
        f"rm {_JOURNAL} && {_JOURNALD}",
    ),
    Sabotage(
        "base-02",
        "entries are kept for ever",
        "entries are not removed",
        f"printf '[Journal]\\nMaxRetentionSec=0\\n' > {_JOURNAL} && {_JOURNALD}",
        f"rm {_JOURNAL} && {_JOURNALD}",
    ),
    Sabotage(
        "base-02",
        "the right file, but the journal was never told",
        "journald allows itself 4096 MB",
        f"printf '[Journal]\\nSystemMaxUse=4G\\n' > {_JOURNAL} && {_JOURNALD} && rm {_JOURNAL}",
        _JOURNALD,
    ),
    Sabotage(
        "base-03",
        "another time zone",
        "its time zone is America/New_York",
        "ln -sf /usr/share/zoneinfo/America/New_York /etc/localtime",
        "ln -sf /usr/share/zoneinfo/{timezone} /etc/localtime",
    ),
    Sabotage(
        "base-03",
        "another host name",
        "its host name is localhost",
        "hostname > /run/name && hostname localhost",
        "hostname $(cat /run/name) && rm /run/name",
    ),
)
