"""Who is turned away: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import LOAD_RULES, NFT, SAVE_RULES, Sabotage

_LATE = "/etc/fail2ban/jail.d/zz-sabotage.local"  # sorts last, and fail2ban takes the last value
_SERVER = "/etc/fail2ban/fail2ban.d/zz-sabotage.local"
# past its start limit; and until it answers
_RESTART = (
    "systemctl reset-failed fail2ban; systemctl restart fail2ban"
    " && timeout 15 sh -c 'until fail2ban-client ping >/dev/null 2>&1; do sleep 0.1; done'"
)
# what it says of one jail, and whether it says anything, is the reason in all of these
_TOUCHES = ("fail2ban",)
_STRANGER = "192.0.2.200"  # RFC 5737: an address that nobody has


def _jail(control: str, what: str, says: str, lines: str, *, alone: str = "") -> Sabotage:
    """Lines that fail2ban reads after the platform's."""
    return Sabotage(
        control,
        what,
        says,
        f"printf '%s\\n' '[sshd]' '{lines}' > {_LATE} && {_RESTART}",
        f"rm -f {_LATE} && {_RESTART}",
        touches=_TOUCHES,
        alone=alone,
    )


def _passed_over(what: str, says: str, pattern: str) -> Sabotage:
    """Lines that the running server is told to pass over; no file says so."""
    tell = "fail2ban-client set sshd"
    break_, undo = f"{tell} addignoreregex '{pattern}'", f"{tell} delignoreregex 0"
    return Sabotage("fail2ban-01", what, says, break_, undo, touches=_TOUCHES)


SABOTAGES = (
    _jail(
        "fail2ban-01",
        "the stock filter, which does not count the refused keys of users who exist",
        "a user who exists fails with a wrong key unseen",
        "filter = sshd[mode=normal]",
    ),
    _passed_over("failures as root do not count", "root fails with a wrong key unseen", "root"),
    _passed_over(
        "failures over IPv6 do not count",
        "a user who does not exist fails unseen over IPv6",
        "[0-9a-f]*:[0-9a-f:]+ port",
    ),
    Sabotage(
        "fail2ban-01",
        "a log file that nobody writes any more",
        "a user who does not exist fails unseen",
        f": > /var/log/auth.log && printf '[sshd]\\nbackend = polling\\nlogpath = /var/log/auth.log\\n' > {_LATE}"
        f" && {_RESTART}",
        f"rm -f {_LATE} /var/log/auth.log && {_RESTART}",
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-01",
        "fail2ban is stopped, and sshd's own penalties still refuse",
        "fail2ban does not answer",
        "systemctl stop fail2ban",
        _RESTART,
        touches=_TOUCHES,
    ),
    _jail("fail2ban-01", "the jail is off", "there is no jail for ssh", "enabled = false"),
    _jail("fail2ban-01", "a hundred tries", "sshd lets 100 tries fail", "maxretry = 100"),
    _jail(
        "fail2ban-01", "every ban is as short as the first", "bans no longer the second", "bantime.increment = false"
    ),
    _jail("fail2ban-02", "a jail without an action", "a banned address gets an answer", "action = "),
    _jail(
        "fail2ban-02",
        "only the ssh port is closed, as Debian has it",
        "a banned address gets an answer",
        "banaction = nftables\naction = nftables[name=sshd, port=ssh, protocol=tcp]",
    ),
    Sabotage(
        "fail2ban-02",
        "the rules are flushed while somebody is banned",
        "are not dropped",
        f"fail2ban-client set sshd banip {_STRANGER} >/dev/null && {SAVE_RULES} && nft flush ruleset",
        f"{LOAD_RULES}; fail2ban-client unban {_STRANGER} >/dev/null && {_RESTART}",
        alone="the next ban makes fail2ban put its rules back, and then the reason is another one",
    ),
    Sabotage(
        "fail2ban-01",
        "every ban is as short as the first, by multipliers that the running server was told",
        "sshd bans the second time for bantime.multipliers 1",
        "fail2ban-client set sshd bantime.multipliers 1 >/dev/null",
        _RESTART,
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-02",
        "a chain is asked before the list of the banned",
        "no rule drops all that comes from the addresses that sshd bans",
        f"{SAVE_RULES} && nft add chain inet f2b-table spare"
        " && nft add rule inet f2b-table spare meta nfproto ipv4 accept"
        " && nft insert rule inet f2b-table f2b-chain jump spare",
        LOAD_RULES,
        touches=(*_TOUCHES, NFT),
    ),
    Sabotage(
        "fail2ban-03",
        "an address of the private network was banned by hand",
        "sshd has banned 1 address that it should spare",
        "fail2ban-client set sshd banip $(echo {network} | sed 's,[0-9]*/.*,250,') >/dev/null",
        "fail2ban-client unban $(echo {network} | sed 's,[0-9]*/.*,250,') >/dev/null",
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-04",
        "a file of systemd's has what was banned removed at each start",
        "fail2ban.service is told otherwise by /etc/systemd/system/fail2ban.service.d/tidy.conf",
        "mkdir -p /etc/systemd/system/fail2ban.service.d && printf '%s\\n' '[Service]'"
        " 'ExecStartPre=rm -f /var/lib/fail2ban/fail2ban.sqlite3' > /etc/systemd/system/fail2ban.service.d/tidy.conf"
        " && systemctl daemon-reload",
        "rm /etc/systemd/system/fail2ban.service.d/tidy.conf && systemctl daemon-reload",
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-02",
        "everybody of IPv4 is let go before the list of the banned",
        "no rule drops all that comes from the addresses that sshd bans (IPv4)",
        f"{SAVE_RULES} && nft insert rule inet f2b-table f2b-chain meta nfproto ipv4 accept",
        LOAD_RULES,
        touches=(*_TOUCHES, NFT),
    ),
    _jail(
        "fail2ban-03",
        "the operators were forgotten",
        "sshd would ban",
        "ignoreip = 127.0.0.1/8",
        alone="the failed logins of other checks would get the operator banned",
    ),
    _jail(
        "fail2ban-03",
        "the whole internet is spared",
        "spares without being told to",
        "ignoreip = 0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1",
    ),
    _jail("fail2ban-03", "a program spares everybody", "sshd spares whom /bin/true says", "ignorecommand = /bin/true"),
    Sabotage(
        "fail2ban-04",
        "bans are kept nowhere",
        "fail2ban keeps no database",
        f"printf '[DEFAULT]\\ndbfile = None\\n' > {_SERVER} && {_RESTART}",
        f"rm -f {_SERVER} && {_RESTART}",
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-04",
        "bans are kept in memory",
        "the database is in memory",
        f"printf '[DEFAULT]\\ndbfile = /run/fail2ban/bans.sqlite3\\n' > {_SERVER} && {_RESTART}",
        f"rm -f {_SERVER} && {_RESTART}",
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-04",
        "fail2ban does not start at boot",
        "does not start at boot",
        "systemctl -q disable fail2ban",
        "systemctl -q enable fail2ban",
        touches=_TOUCHES,
    ),
    Sabotage(
        "fail2ban-04",
        "Debian's own firewall service is back, which flushes all rules",
        "nftables.service flushes",
        "systemctl -q unmask nftables && systemctl -q enable nftables",
        "systemctl -q disable nftables && systemctl -q mask nftables",
        touches=_TOUCHES,
    ),
)
