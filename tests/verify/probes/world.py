"""What a check may use: the stack's plain settings, its inventory, and a way to each machine. No secret, no Pulumi."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeVar

from testinfra.backend.base import CommandResult  # type: ignore[import-untyped]
from testinfra.backend.ssh import SshBackend  # type: ignore[import-untyped]
from testinfra.host import Host  # type: ignore[import-untyped]

from bastide.console import Completed, run
from bastide.errors import BastideError, StackError
from bastide.machines import Inventory, identity_path, inventory_path, load_inventory, ssh_config_path
from bastide.settings import Settings
from bastide.stackfile import read, stack_path
from tests.verify.probes.gate import through_gate

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
CONNECT_SECONDS = 10
# a shared connection outlives the wait for another machine that is busy, or all would connect anew at once
_PERSIST_SECONDS = 240
_SESSIONS = 9  # sshd_config(5), MaxSessions: ten on one connection
_DIFFER = "the checks here, or the inventory, are not those of the last deploy: `make deploy`, `make inventory`"
_PROBE_SECONDS = 300  # every port of three machines takes a good two minutes; nothing takes longer


class NotSeen(BastideError):
    """A probe could not be taken: the machine does not answer, or a program is missing there."""


@dataclass(frozen=True)
class Observation:
    """What a probe gave. `command` is how a person could repeat it, `at` when (UTC), `seconds` how long it took."""

    command: str
    data: Any
    at: datetime
    seconds: float


@dataclass(frozen=True)
class Output:
    """What one command on a machine printed (both outputs) and its exit code."""

    code: int
    text: str


@dataclass(frozen=True)
class Call:
    """A shell script with its words (`$1`, `$2`)."""

    text: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class World:
    """One stack, seen from the operator's machine.

    `silent`: machines that did not answer; `asked`: the batched commands that the session's checks need. `gated`: it is
    seen as the account of the checks, for whom machines run listed scripts alone (`settings.users.verification`).
    """

    stack: str
    settings: Settings
    inventory: Inventory
    ssh_config: Path
    root: Path = ROOT
    all_ports: bool = False
    gated: bool = False
    silent: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)

    @property
    def environment(self) -> Literal["lab", "cloud"]:
        """Where the stack lives."""
        return "lab" if self.inventory.environment == "lab" else "cloud"

    def host(self, name: str) -> Host:
        """The testinfra host of a machine or the prober: over ssh with our own configuration, never the local one."""
        return _host(name, self.ssh_config)

    def greet(self, name: str) -> None:
        """Open the shared connection to a machine, and remember when it does not answer: nobody waits for it twice."""
        try:
            self.host(name).run("true")
        except RuntimeError:
            self.silent.add(name)

    def as_root(self, name: str, script: str | Call) -> Output:
        """Run a shell script as root on a machine, over its one shared connection. Returns what it printed.

        Machines of the platform run registered scripts alone (listed.py); the prober takes any text.
        """
        call = self._call(name, script)
        if name in self.silent:
            raise NotSeen(*_silence(name))
        if self._is_gated(name):
            return _told(self._through_gate(name, {"": call}, merged=False)[""])
        try:
            prober = self.inventory.prober
            rooted = prober is not None and self._is_outside(name) and prober.user == "root"
            line = ["sh -c %s sh" if rooted else "sudo -n sh -c %s sh", *("%s" for _ in call.words)]
            with _turns(name, self.ssh_config):
                done = self.host(name).run(" ".join(line), call.text, *call.words)
        except RuntimeError:  # testinfra's word for ssh's own exit code 255
            raise NotSeen(*_silence(name)) from None
        return Output(done.rc, (done.stdout if done.rc == 0 else done.stdout + done.stderr).strip())

    def batch(self, name: str, commands: Mapping[str, str | Call]) -> dict[str, Output]:
        """Run several scripts as root on a machine in one round trip, each with its own output and exit code.

        Raises `NotSeen` also when one of them is not run.
        """
        return {key: _told(output) for key, output in self.each(name, commands).items()}

    def each(self, name: str, commands: Mapping[str, str | Call]) -> dict[str, Output | NotSeen]:
        """The same, where one that is not run keeps no other from it."""
        calls = {key: self._call(name, script) for key, script in commands.items()}
        if self._is_gated(name):
            return self._through_gate(name, calls, merged=True)
        mark = f"--{secrets.token_hex(8)}"
        # programs answer in one language, whatever settings.base.locale says
        script = "export LC_ALL=C.UTF-8\n" + "".join(
            f"echo '{mark} {key}'; ( set -- {' '.join(map(quote, call.words))}\n{call.text}\n ) </dev/null 2>&1; "
            f'code=$?; echo; echo "{mark} $code"\n'
            for key, call in calls.items()
        )
        outputs: dict[str, Output | NotSeen] = {}
        key, lines = "", list[str]()
        for line in self.as_root(name, Call(script)).text.splitlines():
            first, _, rest = line.partition(" ")
            if first != mark:
                lines.append(line)
            elif rest in commands:
                key, lines = rest, []
            else:
                outputs[key] = Output(int(rest), "\n".join(lines).strip())
        if missing := set(commands) - set(outputs):
            raise NotSeen(f"{name} did not answer for {', '.join(sorted(missing))}", "is sudo without password there?")
        return outputs

    def _is_outside(self, name: str) -> bool:
        """Whether it is the prober, which is no machine of the platform."""
        return self.inventory.prober is not None and name == self.inventory.prober.name

    def _is_gated(self, name: str) -> bool:
        return self.gated and not self._is_outside(name)

    @property
    def has_prober_at_hand(self) -> bool:
        """Whether there is a prober whose key is at hand: that of the automation account, which CI does not have."""
        key = identity_path(self.inventory.identity, self.root)
        return self.inventory.prober is not None and (not self.gated or key.exists())

    def _call(self, name: str, script: str | Call) -> Call:
        if isinstance(script, Call):
            return script
        if not self._is_outside(name):
            raise ValueError(f"a script for {name} is not registered: see tests/verify/probes/listed.py")
        return Call(script)

    def _through_gate(self, name: str, calls: Mapping[str, Call], *, merged: bool) -> dict[str, Output | NotSeen]:
        if name in self.silent:
            raise NotSeen(*_silence(name))
        scripts = {key: (call.text, call.words) for key, call in calls.items()}
        with _turns(name, self.ssh_config):
            said = through_gate(self.ssh_config, name, scripts, merged=merged, timeout=_PROBE_SECONDS)
        if said is None:
            raise NotSeen(*_silence(name))
        who = self.inventory.verifier
        found: dict[str, Output | NotSeen] = {}
        for key, one in said.items():
            text = one.out if one.code == 0 else one.out + one.err
            found[key] = Output(one.code, text.strip())
            if one.refused:
                found[key] = NotSeen(f"{name} does not run {key or 'a script'} for {who}: {one.refused}", _DIFFER)
        return found

    def login(self, name: str, *options: str, command: str = "true") -> Completed:
        """A fresh ssh connection of its own, with the client's account of it in `stderr`."""
        words = ["ssh", "-F", str(self.ssh_config), "-v", "-o", "ControlMaster=no", "-o", "ControlPath=none"]
        words += ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", *options, name, command]
        return run(words, check=False, timeout=CONNECT_SECONDS * 3)


def open_world(stack: str = "", *, all_ports: bool = False, gated: bool = False) -> World:
    """Read what the checks need of `stack` (default: $BASTIDE_STACK, else lab), `gated` as the account of the checks.

    Raises `StackError` when there is no inventory: the checks never fall back to the machine they run on.
    """
    stack = stack or os.environ.get("BASTIDE_STACK", "") or "lab"
    inventory = load_inventory(inventory_path(stack, ROOT))
    if not inventory.machines:
        raise StackError(f"the inventory of {stack} names no machine", "run `make inventory`")
    if gated and not inventory.verifier:
        raise StackError(f"{stack} has no account for checks", "name one in settings.users.verification, `make deploy`")
    ssh_config = ssh_config_path(stack, ROOT, gated=gated)
    if not ssh_config.exists():
        raise StackError(f"{ssh_config} does not exist", f"run `python -m hosts ssh-config --stack {stack}`")
    return World(stack, read(stack_path(stack, ROOT)), inventory, ssh_config, all_ports=all_ports, gated=gated)


def _told(output: Output | NotSeen) -> Output:
    if isinstance(output, NotSeen):
        raise output
    return output


def _silence(name: str) -> tuple[str, str]:
    return f"{name} does not answer over ssh", f"look with `ssh -v -F build/<stack>/ssh_config {name}`"


def declared(wanted: T | None) -> T:
    """What a check speaks of, which its stack file declares: of other stacks its control says nothing (`needs`), and
    the check is not run there at all."""
    assert wanted is not None, "a check of what this stack file does not declare: its control needs nothing"
    return wanted


def now() -> datetime:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


@cache
def _turns(name: str, ssh_config: Path) -> threading.BoundedSemaphore:
    """So many sessions at once as a connection may have: ssh would open another one for each that is too many, and the
    server takes offence at many that have not logged in yet."""
    return threading.BoundedSemaphore(_SESSIONS)


@cache
def _host(name: str, ssh_config: Path) -> Host:
    backend = _OwnSsh(name, ssh_config=str(ssh_config), timeout=CONNECT_SECONDS, controlpersist=_PERSIST_SECONDS)
    host = Host(backend)
    backend.set_host(host)
    return host


class _OwnSsh(SshBackend):  # type: ignore[misc]
    """testinfra's ssh, started by the one function that starts programs: probes run in threads, see
    `bastide.console._environment`."""

    def run_local(self, command: str, *args: str) -> CommandResult:
        line = self.quote(command, *args)
        done = run(["sh", "-c", line], check=False, timeout=_PROBE_SECONDS)
        return self.result(done.returncode, self.encode(line), done.stdout, done.stderr)
