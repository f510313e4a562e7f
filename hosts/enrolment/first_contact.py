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

A server that somebody else made has one accepted key from the first packet on, that of the settings, and keeps it: its
automation account is made (`existing_server.py`), its other host keys go, the declared one becomes the final record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bastide.errors import HostKeyError, StackError
from bastide.machines import Machine, build_dir, identity_path
from bastide.secrets import Keyring
from bastide.settings import Settings
from hosts.enrolment.existing_server import FirstContact, admit
from hosts.enrolment.root_script import SCRIPT, run_script
from hosts.transport import known_hosts
from hosts.transport.client import Endpoint, HostKeyRefused, MachineUnreachable, PinnedClient, check_identity, connect
from hosts.transport.known_hosts import Record, fingerprint
from hosts.transport.ssh_address import in_mesh, ssh_addresses

Report = Callable[[str], None]

_BOOT_SECONDS = 120.0
_ANSWER_SECONDS = 20.0
_STOCK_PORT = 22
# in place of a bootstrap key, where the key that is there stays
_NONE = "none"


@dataclass(frozen=True)
class Target:
    """One machine to be reached with strict host keys. `bootstrap` gives the public key that it shows at first.

    `first` is how a server that somebody else made is reached at first; None for all others.
    """

    stack: str
    machine: Machine
    endpoint: Endpoint
    known_hosts: Path
    lock: Path
    bootstrap: Callable[[], str]
    first: FirstContact | None = None

    @property
    def alias(self) -> str:
        """The name of its record."""
        return known_hosts.alias(self.stack, self.machine.name, self.machine.id)


def target(stack: str, root: Path, settings: Settings, machine: Machine, keyring: Keyring | None) -> Target:
    """How to reach a machine of a stack. Without a keyring (no passphrase) only machines with a record can be reached.

    Raises `StackError` when the private key of the automation account is not there or not the right one.
    """
    automation = settings.users.automation
    identity = identity_path(automation.identity, root)
    check_identity(identity, automation.key)

    def bootstrap() -> str:
        if keyring is None:
            raise StackError(
                f"{machine.name} has no recorded host key yet",
                "enrol it where the passphrase is: python -m hosts enroll",
            )
        return keyring.bootstrap_host_key(machine.name, machine.generation).public

    existing = settings.existing.get(machine.name)
    # sshd listens where its image has it until a deploy has moved it
    ports = tuple(dict.fromkeys((settings.ssh.port, existing.port if existing else _STOCK_PORT)))
    first, *others = ssh_addresses(settings, machine)
    endpoint = Endpoint(machine.name, first, ports, automation.name, identity, others=tuple(others))
    if existing:
        endpoint = replace(
            endpoint, hint=f"see at the console of {existing.hoster} whether it runs and who may reach it"
        )
    elif settings.lab:
        hint = f"see `python -m lab status`; `python -m lab start {machine.name}` starts it"
        endpoint = replace(endpoint, hint=hint)
    if settings.ssh.open_to == "vpn" and not in_mesh(settings):
        endpoint = replace(endpoint, hint="ssh is open to the mesh only: start your tunnel (docs/how-to/vpn.md)")
    lock = build_dir(stack, root) / "known_hosts.lock"
    contact = FirstContact(existing, automation.key) if existing else None
    return Target(stack, machine, endpoint, known_hosts.known_hosts_path(stack, root), lock, bootstrap, contact)


def open_strictly(goal: Target, report: Report, *, wait: float | None = None) -> PinnedClient:
    """Connect to a machine whose host key is the recorded one; a new server is enrolled first.

    `report` gets a line for each thing that is worth saying; `wait` is how long in seconds the machine may take to
    answer (by default 20, for a new server 120). The caller closes the client.

    Raises `HostKeyError` for another host key, `MachineUnreachable`, `StackError`.
    """
    record = known_hosts.read_records(goal.known_hosts).get(goal.alias)
    if goal.first:
        key = goal.first.server.host_key
        if record and record.key != key:
            raise HostKeyError(
                f"stacks/{goal.known_hosts.name} records another host key for {goal.machine.name} than it declares",
                f"remove the line {goal.alias} from that file: the key in the settings counts",
            )
        if record is None or not record.final:
            _enrol_existing(goal, goal.first, report, wait or _ANSWER_SECONDS)
        return _connect(goal, (key,), report, wait or _ANSWER_SECONDS)
    if record is None or not record.final:
        record = _enrol(goal, record, report, wait or _BOOT_SECONDS)
    return _connect(goal, (record.key,), report, wait or _ANSWER_SECONDS)


def _enrol(goal: Target, pending: Record | None, report: Report, wait: float) -> Record:
    """From no record, or a pending one, to a final one."""
    bootstrap = goal.bootstrap()
    accepted = (bootstrap,) if pending is None else (bootstrap, pending.key)
    report("first contact: expecting the bootstrap host key" if pending is None else "going on with a first contact")
    with contextlib.closing(_connect(goal, accepted, report, wait)) as client:
        key = _on_machine(goal, client, "make", bootstrap)
        record = Record(goal.alias, key, goal.machine.generation, final=False)
        for old in known_hosts.write_record(goal.known_hosts, goal.lock, record):
            report(f"the record of its predecessor {old.alias} ({fingerprint(old.key)}) is retired")
        _on_machine(goal, client, "switch", bootstrap)
    _connect(goal, (key,), report, _ANSWER_SECONDS).close()
    final = Record(goal.alias, key, goal.machine.generation)
    known_hosts.write_record(goal.known_hosts, goal.lock, final)
    report(f"its own host key {fingerprint(key)} is recorded in stacks/{goal.known_hosts.name}")
    return final


def _enrol_existing(goal: Target, first: FirstContact, report: Report, wait: float) -> None:
    """From a machine that somebody else made to one with an automation account, one host key and a final record."""
    key = first.server.host_key
    try:
        admit(goal.endpoint, first, report, wait)
    except HostKeyRefused as error:
        raise _host_key_error(goal, error.shown) from None
    with contextlib.closing(_connect(goal, (key,), report, wait)) as client:
        if (there := _on_machine(goal, client, "switch", _NONE)) != key:
            raise HostKeyError(
                f"{goal.endpoint} keeps {fingerprint(there)} as its ed25519 host key, and shows another",
                "its /etc/ssh/ssh_host_ed25519_key must be the declared key: deploys keep that file",
            )
    _connect(goal, (key,), report, _ANSWER_SECONDS).close()
    final = Record(goal.alias, key, goal.machine.generation)
    for old in known_hosts.write_record(goal.known_hosts, goal.lock, final):
        report(f"the record of its predecessor {old.alias} ({fingerprint(old.key)}) is retired")
    report(f"its declared host key {fingerprint(key)} is recorded in stacks/{goal.known_hosts.name}")


def _on_machine(goal: Target, client: PinnedClient, phase: str, bootstrap: str) -> str:
    """Run one phase of the script as root; returns the machine's own public key."""
    code, key, said = run_script(client, goal.endpoint, SCRIPT, phase, bootstrap)
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
    if goal.first:
        declared = fingerprint(goal.first.server.host_key)
        return HostKeyError(
            f"{goal.endpoint} shows the host key {fingerprint(shown)}, the settings declare {declared}",
            "somebody may stand in between. Compare at its owner's console: `ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub`; only when you know why it differs, correct "
            f"settings.servers.{goal.machine.name}.host_key",
        )
    record = known_hosts.read_records(goal.known_hosts).get(goal.alias)
    file = f"stacks/{goal.known_hosts.name}"
    if record is None:
        return HostKeyError(
            f"{goal.endpoint} shows the host key {fingerprint(shown)}: neither recorded nor its bootstrap key",
            f"was it enrolled from another clone? Then fetch {file} from git. If not, it is another machine, or was "
            "reinstalled: raise its generation and replace it",
        )
    what = "another host key"
    with contextlib.suppress(StackError):
        if shown == goal.bootstrap():
            what = "its bootstrap host key, as after a reinstallation, and no longer the recorded one"
    return HostKeyError(
        f"{goal.endpoint} shows {what}: {fingerprint(shown)} instead of {fingerprint(record.key)}",
        "somebody may stand in between. Compare at the console: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`; "
        f"only when you know why it changed, remove the line {goal.alias} from {file}",
    )
