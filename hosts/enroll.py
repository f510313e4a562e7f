"""Strict host keys from the first connection on, without trust on first use.

A new server shows a bootstrap host key that its user_data carried and that the keyring can derive. Over that channel
the server makes a key of its own; from then on only this one is accepted. Records are in
`stacks/<stack>.known_hosts`, by the server's id, and pass through three states:

    none     accept the bootstrap key
             -> wait for cloud-init, have the server make its key at rest (or show the one made before)
             -> write the pending record
    pending  accept the bootstrap key or the pending one (the server switches at a moment that cannot be seen from here)
             -> have the server switch: its key becomes the only host key, the bootstrap key is removed, sshd restarts
             -> connect anew, accepting the pending key alone
             -> write the final record
    final    accept the recorded key. Nothing here ever changes a final record of the same server.

Each step can be repeated, so a run that was killed anywhere is completed by the next: with no record yet, the server
still shows its bootstrap key and answers with the same key again; with a pending one, either of the two keys leads to
the switch, which does nothing where it has been done. A server with another id has no record, begins at the top and
retires the old record, which is said aloud.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko

from bastide.errors import HostKeyError, StackError
from bastide.machines import Machine, build_dir
from bastide.secrets import Keyring
from bastide.settings import Settings
from hosts import ssh
from hosts.client import Endpoint, HostKeyRefused, MachineUnreachable, PinnedClient, check_identity, connect

Report = Callable[[str], None]

_BOOT_SECONDS = 120.0
_ANSWER_SECONDS = 20.0
_CLOUD_INIT_SECONDS = 300
_STOCK_PORT = 22

# $1 is `make` or `switch`, $2 the bootstrap public key. Runs as root on the machine; prints the machine's public key.
_SCRIPT = r"""
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
    python3 - >/etc/cloud/cloud.cfg.d/.99-bastide.new <<'END'
import json, yaml
modules = yaml.safe_load(open("/etc/cloud/cloud.cfg"))["cloud_init_modules"]
print("# the ssh host key is made and recorded: the module ssh is out of this list")
print("cloud_init_modules:", json.dumps([module for module in modules if module != "ssh"]))
END
    chmod 644 /etc/cloud/cloud.cfg.d/.99-bastide.new
    mv /etc/cloud/cloud.cfg.d/.99-bastide.new /etc/cloud/cloud.cfg.d/99-bastide.cfg
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
""".replace("@WAIT@", str(_CLOUD_INIT_SECONDS))


@dataclass(frozen=True)
class Target:
    """One machine to be reached with strict host keys. `bootstrap` gives the public key that it shows at first."""

    stack: str
    machine: Machine
    endpoint: Endpoint
    known_hosts: Path
    lock: Path
    bootstrap: Callable[[], str]

    @property
    def alias(self) -> str:
        """The name of its record."""
        return ssh.alias(self.stack, self.machine.name, self.machine.id)


def target(stack: str, root: Path, settings: Settings, machine: Machine, keyring: Keyring | None) -> Target:
    """How to reach a machine of a stack. Without a keyring (no passphrase) only machines with a record can be reached.

    Raises `StackError` when the private key of the automation account is not there or not the right one.
    """
    automation = settings.users.automation
    identity = ssh.identity_path(automation.identity, root)
    check_identity(identity, automation.key)

    def bootstrap() -> str:
        if keyring is None:
            raise StackError(
                f"{machine.name} has no recorded host key yet",
                "enrol it where the passphrase is: python -m hosts enroll",
            )
        return keyring.bootstrap_host_key(machine.name, machine.generation).public

    # the image's sshd listens on 22 until a deploy has moved it
    ports = (settings.ssh.port,) if settings.ssh.port == _STOCK_PORT else (settings.ssh.port, _STOCK_PORT)
    endpoint = Endpoint(machine.name, machine.address, ports, automation.name, identity)
    if settings.lab:
        look = f"see `python -m lab status`; `python -m lab start {machine.name}` starts it"
        endpoint = replace(endpoint, look=look)
    lock = build_dir(stack, root) / "known_hosts.lock"
    return Target(stack, machine, endpoint, ssh.known_hosts_path(stack, root), lock, bootstrap)


def open_strictly(goal: Target, report: Report, *, wait: float | None = None) -> PinnedClient:
    """Connect to a machine whose host key is the recorded one; a new server is enrolled first.

    `report` gets a line for each thing that is worth saying; `wait` is how long in seconds the machine may take to
    answer (by default 20, for a new server 120). The caller closes the client.

    Raises `HostKeyError` for another host key, `MachineUnreachable`, `StackError`.
    """
    record = ssh.read_records(goal.known_hosts).get(goal.alias)
    if record is None or not record.final:
        record = _enrol(goal, record, report, wait or _BOOT_SECONDS)
    return _connect(goal, (record.key,), report, wait or _ANSWER_SECONDS)


def _enrol(goal: Target, pending: ssh.Record | None, report: Report, wait: float) -> ssh.Record:
    """From no record, or a pending one, to a final one."""
    bootstrap = goal.bootstrap()
    accepted = (bootstrap,) if pending is None else (bootstrap, pending.key)
    report("first contact: expecting the bootstrap host key" if pending is None else "going on with a first contact")
    with contextlib.closing(_connect(goal, accepted, report, wait)) as client:
        key = _on_machine(goal, client, "make", bootstrap)
        record = ssh.Record(goal.alias, key, goal.machine.generation, final=False)
        for old in ssh.write_record(goal.known_hosts, goal.lock, record):
            report(f"the record of its predecessor {old.alias} ({ssh.fingerprint(old.key)}) is retired")
        _on_machine(goal, client, "switch", bootstrap)
    _connect(goal, (key,), report, _ANSWER_SECONDS).close()
    final = ssh.Record(goal.alias, key, goal.machine.generation)
    ssh.write_record(goal.known_hosts, goal.lock, final)
    report(f"its own host key {ssh.fingerprint(key)} is recorded in stacks/{goal.known_hosts.name}")
    return final


def _on_machine(goal: Target, client: PinnedClient, phase: str, bootstrap: str) -> str:
    """Run one phase of the script as root; returns the machine's own public key."""
    command = shlex.join(["sudo", "-n", "sh", "-s", "--", phase, bootstrap])
    try:
        stdin, stdout, stderr = client.exec_command(command, timeout=_CLOUD_INIT_SECONDS + 60.0)
        stdin.write(_SCRIPT)
        stdin.close()
        stdin.channel.shutdown_write()
        key, said = stdout.read().decode().strip(), stderr.read().decode().strip()
        code = stdout.channel.recv_exit_status()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise MachineUnreachable(
            f"{goal.endpoint} was lost while it was enrolled: {error or type(error).__name__}",
            "run the same command again: it goes on from there",
        ) from None
    if code != 0 or key == bootstrap or not key.startswith("ssh-ed25519 "):
        raise MachineUnreachable(
            f"{goal.endpoint} could not {phase} its host key (exit code {code}): {said or 'it said nothing'}",
            "mend that on the machine and run the same command again; nothing is recorded as final yet",
        )
    return key


def _connect(goal: Target, accepted: tuple[str, ...], report: Report, wait: float) -> PinnedClient:
    try:
        return connect(goal.endpoint, accepted, wait=wait, report=report)
    except HostKeyRefused as error:
        raise _host_key_error(goal, error.shown) from None


def _host_key_error(goal: Target, shown: str) -> HostKeyError:
    record = ssh.read_records(goal.known_hosts).get(goal.alias)
    file = f"stacks/{goal.known_hosts.name}"
    if record is None:
        return HostKeyError(
            f"{goal.endpoint} shows the host key {ssh.fingerprint(shown)}: neither recorded nor its bootstrap key",
            f"was it enrolled from another clone? Then fetch {file} from git. If not, it is another machine, or was "
            "reinstalled: raise its generation and replace it",
        )
    what = "another host key"
    with contextlib.suppress(StackError):
        if shown == goal.bootstrap():
            what = "its bootstrap host key, as after a reinstallation, and no longer the recorded one"
    return HostKeyError(
        f"{goal.endpoint} shows {what}: {ssh.fingerprint(shown)} instead of {ssh.fingerprint(record.key)}",
        "somebody may stand in between. Compare at the console: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`; "
        f"only when you know why it changed, remove the line {goal.alias} from {file}",
    )
