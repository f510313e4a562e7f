"""Scripts that run as root on a machine while it is enrolled, and how they are run there."""

from __future__ import annotations

import contextlib
import shlex

import paramiko

from hosts.transport.client import Endpoint, MachineUnreachable, PinnedClient

CLOUD_INIT_SECONDS = 300

# $1 is `make` or `switch`, $2 the bootstrap public key. Runs as root on the machine; prints the machine's public key.
SCRIPT = r"""
set -eu
umask 077
cd /etc/ssh
live=ssh_host_ed25519_key
next=bastide_next_host_key
public() { ssh-keygen -y -f "$1" | cut -d ' ' -f 1,2; }

# two operators at once must not make two keys
exec 9>/run/bastide-host-key.lock
flock -w 60 9

case $1 in
make)
    # cloud-init writes host keys while it is at work; 2 means done with warnings (cloud-init status --help)
    code=0
    timeout @WAIT@ cloud-init status --wait >/dev/null 2>&1 || code=$?
    if [ $code -ne 0 ] && [ $code -ne 2 ]; then
        echo "cloud-init did not end well:" >&2
        cloud-init status --long >&2 || true
        exit 1
    fi
    if [ "$(public $live)" = "$2" ]; then
        if ! [ -s $next ]; then
            rm -f $next.new $next.new.pub
            ssh-keygen -q -t ed25519 -N '' -C '' -f $next.new
            sync $next.new
            mv $next.new $next
            rm -f $next.new.pub
            sync .
        fi
        public $next
    else
        public $live
    fi
    ;;
switch)
    # a public half that does not match makes sshd ignore the private one, so it goes first
    rm -f $live.pub
    if [ "$(public $live)" = "$2" ]; then
        mv $next $live
    fi
    public $live >$live.pub.new
    chmod 644 $live.pub.new
    mv $live.pub.new $live.pub
    rm -f $next $next.*
    for file in ssh_host_*; do
        case $file in $live | $live.pub) ;; *) rm -f "$file" ;; esac
    done
    # When the metadata does not answer at some boot, cloud-init may take this for a new server and bring the bootstrap
    # key back (seen with 25.1.4): it is to leave ssh alone from now on, and do the rest as before.
    if [ -e /etc/cloud/cloud.cfg ]; then
        python3 - >/etc/cloud/cloud.cfg.d/.99-bastide.new <<'END'
import json, yaml
modules = yaml.safe_load(open("/etc/cloud/cloud.cfg"))["cloud_init_modules"]
print("# the ssh host key is made and recorded: the module ssh is out of this list")
print("cloud_init_modules:", json.dumps([module for module in modules if module != "ssh"]))
END
        chmod 644 /etc/cloud/cloud.cfg.d/.99-bastide.new
        mv /etc/cloud/cloud.cfg.d/.99-bastide.new /etc/cloud/cloud.cfg.d/99-bastide.cfg
    fi
    sync
    mkdir -p -m 755 /run/sshd
    sshd -t
    # a restart ends when the new process listens; open sessions live on (KillMode=process)
    if systemctl --quiet is-active ssh.service; then
        systemctl restart ssh.service
    fi
    public $live
    ;;
esac
""".replace("@WAIT@", str(CLOUD_INIT_SECONDS))


def run_script(client: PinnedClient, endpoint: Endpoint, script: str, *words: str) -> tuple[int, str, str]:
    """Run a script with /bin/sh as root; `words` are its $1, $2 ... Returns its exit code and both outputs.

    Raises `MachineUnreachable` when the connection is lost meanwhile.
    """
    root = [] if endpoint.user == "root" else ["sudo", "-n"]
    command = shlex.join([*root, "sh", "-s", "--", *words])
    try:
        stdin, stdout, stderr = client.exec_command(command, timeout=CLOUD_INIT_SECONDS + 60.0)
        # a sudo that asks for a password has gone before it read anything
        with contextlib.suppress(BrokenPipeError):
            stdin.write(script)
            stdin.close()
            stdin.channel.shutdown_write()
        said, complained = stdout.read().decode().strip(), stderr.read().decode().strip()
        return stdout.channel.recv_exit_status(), said, complained
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise MachineUnreachable(
            f"{endpoint} was lost while it was enrolled: {error or type(error).__name__}",
            "run the same command again: it goes on from there",
        ) from None
