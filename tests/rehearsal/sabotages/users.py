"""Who can log in: the wrong ways."""

from __future__ import annotations

from bastide.layout.users import GATE, LISTED
from tests.rehearsal.sabotages.model import KEY, KEY_FILE, RELOAD, Sabotage, early, sshd_says

_SUDOERS = "/etc/sudoers.d/zz-sabotage"
_EARLY = early("users-02")
_CONSOLE = "/etc/systemd/system/getty@tty1.service.d"
# Another account is named beside one that nobody declared, another key beside one that nobody named; and what opens
# a person's account is saved in one place.
_ACCOUNTS, _KEYS = ("accounts",), ("keys",)

SABOTAGES = (
    Sabotage(
        "users-03",
        "whoever says su is root",
        "PAM lets in root by a wrong password (su)",
        "cp -p /etc/pam.d/su /run/pam-su && sed -i '1i auth sufficient pam_permit.so' /etc/pam.d/su",
        "mv /run/pam-su /etc/pam.d/su",
        touches=("pam",),
    ),
    Sabotage(
        "users-01",
        "a console that takes any password",
        "PAM lets in nobody by a wrong password (login)",
        "cp -p /etc/pam.d/login /run/pam-login && sed -i '1i auth sufficient pam_permit.so' /etc/pam.d/login",
        "mv /run/pam-login /etc/pam.d/login",
        touches=("pam",),
    ),
    Sabotage(
        "users-01",
        "an account nobody declared",
        "not declared: mallory",
        "useradd -m -s /bin/bash mallory",
        "userdel -rf mallory",
        touches=_ACCOUNTS,
    ),
    Sabotage(
        "users-01",
        "a second root",
        "toor",
        "useradd -o -u 0 -M -s /bin/sh toor",
        "sed -i /^toor:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow",
        touches=_ACCOUNTS,
    ),
    Sabotage(
        "users-01",
        "an account without a password",
        "usable without a key",
        "passwd -q -d {person}",
        "passwd -q -l {person}",
    ),
    Sabotage(
        "users-01",
        "a shell in the place of what opens no session, by a diversion: for dpkg all is as it was",
        "/usr/sbin/nologin is another program than Debian's",
        "dpkg-divert --quiet --local --rename --add /usr/sbin/nologin && cp /bin/dash /usr/sbin/nologin",
        "rm /usr/sbin/nologin && dpkg-divert --quiet --local --rename --remove /usr/sbin/nologin",
    ),
    sshd_says(
        "users-01",
        "a system account let in by a Match block",
        "for backup the server admits backup",
        "Match User backup\n    AllowUsers backup\n    AuthorizedKeysFile /etc/backup_keys",
        touches=("AllowUsers",),
    ),
    Sabotage(
        "users-01",
        "a console that is root's for whoever stands there",
        "a console opens a session unasked: /etc/systemd/system/getty@tty1.service.d/auto.conf",
        f"mkdir -p {_CONSOLE} && printf '%s\\n' '[Service]' ExecStart="
        f" 'ExecStart=-/sbin/agetty --autologin root %I linux' > {_CONSOLE}/auto.conf && systemctl daemon-reload",
        f"rm -r {_CONSOLE} && systemctl daemon-reload",
    ),
    sshd_says(
        "users-02",
        "a file of keys counts, whoever may write it",
        "strictmodes is no",
        "StrictModes no",
    ),
    Sabotage(
        "users-02",
        "a person's key that vouches for any other key",
        "key(s) that the stack file does not name",
        f"{KEY_FILE}; cp -p $(keys {{person}}) /run/keys && sed -i 's/^ssh-/cert-authority ssh-/' $(keys {{person}})",
        f"{KEY_FILE}; cat /run/keys > $(keys {{person}}) && rm /run/keys",
        touches=_KEYS,
    ),
    Sabotage(
        "users-02",
        "a second key in somebody's file",
        "key(s) that the stack file does not name",
        f"{KEY_FILE}; cp -p $(keys {{person}}) /run/keys && echo '{KEY}' >> $(keys {{person}})",
        f"{KEY_FILE}; cat /run/keys > $(keys {{person}}) && rm /run/keys",
        touches=_KEYS,
    ),
    Sabotage(
        "users-02",
        "a key for root",
        "root has 1 key(s)",
        f"{KEY_FILE}; mkdir -p /root/.ssh && echo '{KEY}' > $(keys root)",
        f"{KEY_FILE}; rm $(keys root)",
        touches=_KEYS,
    ),
    sshd_says(
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
        f" && echo AuthorizedKeysFile $f .ssh/authorized_keys2 > {_EARLY}"
        f" && d=$(getent passwd {{person}} | cut -d: -f6)/.ssh && mkdir -p $d && echo '{KEY}' > $d/authorized_keys2",
        f"rm -f {_EARLY}; rm $(getent passwd {{person}} | cut -d: -f6)/.ssh/authorized_keys2",
        touches=_KEYS,
        then=RELOAD,
    ),
    Sabotage(
        "users-02",
        "keys from a file that one block names, by the account's number",
        "daemon has 1 key(s) that the stack file does not name",
        f"echo '{KEY}' > /etc/ssh/keys-of-1"
        f" && printf 'Match User daemon\\nAuthorizedKeysFile /etc/ssh/keys-of-%%U\\n' > {_EARLY}",
        f"rm -f {_EARLY} /etc/ssh/keys-of-1",
        then=RELOAD,
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
        "a shell that is root's for whoever starts it",
        "/usr/local/bin/sh4 gives whoever starts it rights",
        "cp /bin/dash /usr/local/bin/sh4 && chmod 4755 /usr/local/bin/sh4",
        "rm /usr/local/bin/sh4",
    ),
    Sabotage(
        "users-03",
        "a package's own program, which somebody let run as root",
        "/usr/bin/less gives whoever starts it rights",
        "chmod u+s /usr/bin/less",
        "chmod u-s /usr/bin/less",
    ),
    Sabotage(
        "users-03",
        "a program with root's capabilities, and no mode that tells",
        "/opt/tool gives whoever starts it rights",
        "cp /usr/bin/env /opt/tool && setcap cap_setuid+ep /opt/tool",
        "rm /opt/tool",
    ),
    Sabotage(
        "users-03",
        "a script of root's that a person may write",
        "/usr/local/sbin/nightly: it belongs to number",
        "printf '#!/bin/sh\\n' > /usr/local/sbin/nightly && chown {person} /usr/local/sbin/nightly",
        "rm /usr/local/sbin/nightly",
    ),
    Sabotage(
        "users-03",
        "a password that lets whoever knows it into a group",
        "whoever knows its password gets into the group disk",
        "cp -p /etc/gshadow /run/gshadow && sed -i 's,^disk:[^:]*:,disk:x1:,' /etc/gshadow",
        "cp -p /run/gshadow /etc/gshadow && rm /run/gshadow",
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
        f"useradd -m -s /bin/bash {{removed}}; {KEY_FILE}; f=$(keys {{removed}}); mkdir -p $(dirname $f)"
        f"; echo '{KEY}' > $f",
        f"{KEY_FILE}; rm -f $(keys {{removed}}); userdel -rf {{removed}}",
        touches=(*_ACCOUNTS, *_KEYS),
    ),
    Sabotage(
        "users-04",
        "somebody who left was only locked",
        "still there",
        "useradd -m -s /bin/bash {removed} && usermod -L {removed}",
        "userdel -rf {removed}",
        touches=_ACCOUNTS,
    ),
    Sabotage(
        "users-04",
        "the account is gone, the right waits for whoever gets the name",
        f"{_SUDOERS}-left names ",
        f"echo '{{removed}} ALL=(ALL) NOPASSWD: ALL' > {_SUDOERS}-left && chmod 440 {_SUDOERS}-left",
        f"rm {_SUDOERS}-left",
    ),
    Sabotage(
        "users-04",
        "the account is gone, and what was started goes on",
        "sleep runs for number 4321",
        "systemd-run -q --collect --unit=left setpriv --reuid=4321 --regid=4321 --clear-groups sleep 900",
        "systemctl stop left",
    ),
    Sabotage(
        "users-05",
        "the automation key opens a person's account",
        "the automation key opens",
        f"{KEY_FILE}; cp -p $(keys {{person}}) /run/keys && echo '{{automation_key}}' >> $(keys {{person}})",
        f"{KEY_FILE}; cat /run/keys > $(keys {{person}}) && rm /run/keys",
        touches=_KEYS,
    ),
    sshd_says(
        "users-05", "forwarding is on", "allowtcpforwarding is yes", "DisableForwarding no\nAllowTcpForwarding yes"
    ),
    Sabotage(
        "users-06",
        "another program for the checks' account",
        "sudo allows: (root) NOPASSWD",
        f"echo '{{verifier}} ALL=(root) NOPASSWD: /usr/bin/less' > {_SUDOERS}-checks && chmod 440 {_SUDOERS}-checks",
        f"rm {_SUDOERS}-checks",
    ),
    Sabotage(
        "users-06",
        "a program that runs what nobody listed",
        "it runs what is not listed: another script",
        f"cp -p {GATE} /run/gate && sed -i 's/if name is None:/if False:/' {GATE}",
        f"cp -p /run/gate {GATE} && rm /run/gate",
    ),
    Sabotage(
        "users-06",
        "a script more in the list",
        "in the list that these checks do not have",
        f"cp -p {LISTED} /run/listed && echo \"$(printf id | sha256sum | cut -d' ' -f1)  id\" >> {LISTED}",
        f"cp -p /run/listed {LISTED} && rm /run/listed",
    ),
    Sabotage(
        "users-06",
        "a list that the account can write",
        f"the account can write {LISTED}",
        f"chmod 666 {LISTED}",
        f"chmod 644 {LISTED}",
    ),
    Sabotage(
        "users-06",
        "a key of the checks that opens a shell",
        "a key opens more than the one program",
        f"{KEY_FILE}; cp -p $(keys {{verifier}}) /run/checks.keys && sed -i 's/,command=[^ ]*//' $(keys {{verifier}})",
        f"{KEY_FILE}; cat /run/checks.keys > $(keys {{verifier}}) && rm /run/checks.keys",
    ),
)
