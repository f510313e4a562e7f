"""How they log in: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import KEY_FILE, RELOAD, Sabotage, early, sshd_says

_EARLY = early("ssh-05")
_LATE = "/etc/ssh/sshd_config.d/zz-sabotage.conf"

# a copy under another name, as nobody looks for it; of its own configuration it reads none
_SECOND = "/opt/telemetry"
_RESTART = "systemctl reset-failed ssh; systemctl restart ssh"  # returns when it listens, unlike a reload
_DAEMON = ("sshd",)
_PRELOADED = "/usr/local/lib/sabotage.so"
_VIEW = "/run/systemd/system/ssh.service.d/view.conf"

SABOTAGES = (
    Sabotage(
        "ssh-01",
        "a second ssh server, under another name and by another port",
        f"another ssh server listens at 0.0.0.0 port 2222 ({_SECOND})",
        f"cp /usr/sbin/sshd {_SECOND} && systemd-run -q -p Type=exec --unit=second {_SECOND} -D -f /dev/null -p 2222"
        " -o PidFile=none -o ListenAddress=0.0.0.0 -o PasswordAuthentication=yes",
        f"systemctl stop second; rm {_SECOND}",
    ),
    Sabotage(
        "ssh-04",
        "twenty tries, by an option of the running server",
        "sshd was started with other words than `sshd -D`",
        "cp -p /etc/default/ssh /run/default-ssh && echo 'SSHD_OPTS=-oMaxAuthTries=20' >> /etc/default/ssh"
        f" && {_RESTART}",
        f"mv /run/default-ssh /etc/default/ssh; {_RESTART}",
        touches=_DAEMON,
    ),
    Sabotage(
        "ssh-02",
        "root is let in by settings that were put back once sshd had read them",
        "the files were changed after sshd read them",
        # times of files go by a clock that ticks a hundred times a second or more (inode(7))
        f"echo 'PermitRootLogin yes' > {early('ssh-02')} && {_RESTART} && sleep 0.1 && rm {early('ssh-02')}",
        _RESTART,
        alone="a reload for others would have sshd read what was put back",
    ),
    sshd_says(
        "ssh-02",
        "root from one network of somebody's",
        "permitrootlogin is yes from 192.0.2.1",
        "Match Address 192.0.2.0/24\nPermitRootLogin yes",
    ),
    sshd_says(
        "ssh-01",
        "passwords for a system account, by the port that it comes to",
        "passwordauthentication is yes for backup from 198.51.100.10",
        "Match User backup LocalPort 22\nPasswordAuthentication yes",
    ),
    sshd_says(
        "ssh-01",
        "passwords on, in a file that is read earlier",
        "is offered publickey, password",
        "PasswordAuthentication yes\nAuthenticationMethods any",
    ),
    sshd_says(
        "ssh-01",
        "passwords on for one person",
        "passwordauthentication is yes",
        "Match User {person}\nPasswordAuthentication yes\nAuthenticationMethods any",
    ),
    sshd_says(
        "ssh-01",
        "passwords by the keyboard-interactive door",
        "is offered publickey, keyboard-interactive",
        "KbdInteractiveAuthentication yes\nAuthenticationMethods any",
    ),
    sshd_says(
        "ssh-02",
        "root with a key, as Debian has it",
        "permitrootlogin is without-password",
        "PermitRootLogin prohibit-password",
    ),
    sshd_says(
        "ssh-02",
        "root from inside only",
        "permitrootlogin is yes from 127.0.0.1",
        "Match Address 127.0.0.1\nPermitRootLogin yes",
    ),
    Sabotage(
        "ssh-02",
        "root with the automation key",
        "root was not refused",
        f"{KEY_FILE}; mkdir -p /root/.ssh && echo '{{automation_key}}' > $(keys root)"
        f" && printf 'PermitRootLogin yes\\nAllowUsers root\\n' > {early('ssh-02')}",
        f"{KEY_FILE}; rm -f {early('ssh-02')}; rm $(keys root)",
        touches=("AllowUsers", "keys"),
        then=RELOAD,
    ),
    sshd_says(
        "ssh-03",
        "a key exchange of 2005",
        "Key exchanges",
        # with the one that OpenSSH before 9.9 knows as well, or no check gets a new connection from there
        "KexAlgorithms mlkem768x25519-sha256,sntrup761x25519-sha512@openssh.com,diffie-hellman-group14-sha1",
    ),
    sshd_says("ssh-03", "a message code with SHA-1", "MACs", "MACs hmac-sha2-512-etm@openssh.com,hmac-sha1"),
    sshd_says("ssh-03", "ciphers in CBC mode", "Ciphers", "Ciphers aes256-gcm@openssh.com,aes256-cbc"),
    sshd_says(
        "ssh-04",
        "everybody is spared from penalties",
        "spared without being operators",
        "PerSourcePenaltyExemptList 0.0.0.0/0,::/0",
    ),
    sshd_says(
        "ssh-04", "a failed login costs nothing", "a failed login costs no time", "PerSourcePenalties authfail:0"
    ),
    sshd_says(
        "ssh-04",
        "failures cost time that nobody is ever refused for",
        "nobody is refused before penalties of 86400 s",
        "PerSourcePenalties authfail:5 max:86400 min:86400",
    ),
    sshd_says(
        "ssh-04",
        "who fails is refused for a second at most",
        "penalties have max 1,",
        "PerSourcePenalties authfail:5 max:1 min:1",
    ),
    Sabotage(
        "ssh-01",
        "the server's unit shows it other settings than lie there",
        "sshd sees another file in the place of /etc/ssh/sshd_config",
        "cp -p /etc/ssh/sshd_config /run/other_sshd && echo 'PermitTunnel yes' >> /run/other_sshd"
        " && mkdir -p /run/systemd/system/ssh.service.d && printf '%s\\n' '[Service]'"
        f" BindReadOnlyPaths=/run/other_sshd:/etc/ssh/sshd_config > {_VIEW} && systemctl daemon-reload && {_RESTART}",
        f"rm -r {_VIEW} /run/other_sshd; systemctl daemon-reload; {_RESTART}",
        touches=_DAEMON,
    ),
    Sabotage(
        "ssh-01",
        "code that no package brought is loaded into the server",
        f"sshd has loaded, or would load, what no package brought: {_PRELOADED}",
        f"cp -p $(ls /usr/lib/*/libz.so.1) {_PRELOADED} && mkdir -p $(dirname {_VIEW}) && printf '%s\\n' '[Service]'"
        f" Environment=LD_PRELOAD={_PRELOADED} > {_VIEW} && systemctl daemon-reload && {_RESTART}",
        f"rm {_VIEW}; systemctl daemon-reload; {_RESTART}; rm {_PRELOADED}",
        touches=_DAEMON,
    ),
    sshd_says(
        "ssh-04",
        "operators are not spared",
        "operators who are not spared",
        "PerSourcePenaltyExemptList {network}",
        alone="the failed logins of other checks would shut the operator out",
    ),
    Sabotage(
        "ssh-04",
        "every IPv6 address of a guesser counts by itself",
        "who has an IPv6 /64 has as many tries",
        # of this keyword sshd takes the last value, unlike of all others
        f"echo 'PerSourceNetBlockSize 32:128' > {_LATE}",
        f"rm -f {_LATE}",
        touches=("PerSourceNetBlockSize",),
        then=RELOAD,
    ),
    sshd_says("ssh-04", "twenty tries a connection", "may try 20 times", "MaxAuthTries 20"),
    Sabotage(
        "ssh-05",
        "another host key",
        "it shows 1 host key(s), not just the recorded one",
        f"ssh-keygen -q -t ed25519 -N '' -f /run/other_key && echo 'HostKey /run/other_key' > {_EARLY}"
        " && f=$(grep -l ^HostKey /etc/ssh/sshd_config.d/*.conf | grep -v sabotage)"
        " && sed -i.sabotage 's/^HostKey /#&/' $f",
        f"rm -f {_EARLY} /run/other_key*; for f in /etc/ssh/sshd_config.d/*.sabotage"
        "; do mv $f ${{f%.sabotage}}; done",
        alone="no new connection is made to a server that shows another key",
        then=RELOAD,
    ),
    Sabotage(
        "ssh-05",
        "a second host key of another kind",
        "it shows 2 host key(s)",
        "ssh-keygen -q -t rsa -b 3072 -N '' -f /run/other_key"
        f" && printf 'HostKey /run/other_key\\nHostKeyAlgorithms ssh-ed25519,rsa-sha2-512\\n' > {_EARLY}",
        f"rm -f {_EARLY} /run/other_key*",
        then=RELOAD,
    ),
    Sabotage(
        "ssh-05",
        "a host key of the image is left on disk",
        "host keys on disk",
        "ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/ssh_host_ecdsa_key",
        "rm /etc/ssh/ssh_host_ecdsa_key /etc/ssh/ssh_host_ecdsa_key.pub",
    ),
)
