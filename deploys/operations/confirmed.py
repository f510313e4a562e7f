"""Changes that could lock everybody out: applied, tried by a new login, and taken back when it does not come."""

from __future__ import annotations

import json
import logging
import time
from typing import Any, cast

import gevent  # type: ignore[import-untyped]
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.connectors.ssh import SSHConnector

from deploys import remote
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.changes import UNFINISHED
from deploys.operations.files import Commands, File, differing, files_request, plan
from deploys.operations.hold import released

LOGIN_SECONDS = 15
GUARD_SECONDS = 45  # longer than settling and the login may take together
_BACK_SECONDS = GUARD_SECONDS + 30


@operation()
def confirmed(
    name_: str,
    wanted: tuple[File, ...],
    settle: str,
    port: int | None,
    drift: str = "",
    kept: tuple[str, ...] = (),
) -> Commands:
    """Write files and make them effective; keep that only if a new login works then.

    + name_: one word, the capability
    + wanted: the files
    + settle: a shell line that makes the files at hand effective; also what makes the old ones effective again
    + port: the ssh port that the new login must use; None: that of this run's own session, for what moves no port
    + drift: why to do it although the files are as wanted; "" when there is no reason
    + kept: paths of further files, which `settle` changes: they come back with the others, before it is run again

    A timer on the machine takes everything back unless the new login confirms it: also when this process is killed,
    the connection hangs, or the machine loses power meanwhile. The login is a fresh TCP connection with strict host
    keys that becomes root by sudo.
    """
    host = this_host()
    facts = ask(host, files_request(wanted))
    changed = differing(host, wanted, facts)
    if not changed and not drift and name_ not in facts[UNFINISHED]["guard"]:
        host.noop(f"{name_}: as wanted")
        return
    if drift and not changed:
        host.log(f"{name_}: {drift}")
    try:
        yield remote.command("change", "begin", plan(name_, wanted, settle, kept), GUARD_SECONDS)
        yield FunctionCommand(_confirm, (name_, port), {})
    finally:
        forget(host)


def _confirm(state: State, host: Host, name: str, port: int | None) -> bool:
    """Log in anew and confirm; else see to it that the old state is back, and say so."""
    # paramiko prints a traceback for each connection that breaks off; here that is expected and told in words
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
    # asked now: a session that is cut off meanwhile says nothing any more
    before = _port_in_use(host)
    problem = _try_login(host, port or before, remote.call("change", "confirm", name))
    if problem is None:
        return True
    _say(host, f"{name}: no new login within {LOGIN_SECONDS} s ({problem}); taking it back")
    # at once through the old session if that still lives and may still be root, else the timer does it
    with gevent.Timeout(5, False):
        host.run_shell_command(
            StringCommand(remote.AS_ROOT), _stdin=remote.call("change", "restore", name, "no new login")
        )
    reason = _wait_until_back(host, name, before)
    if reason is None:
        _say(host, f"{name}: the old state could not be seen within {_BACK_SECONDS} s")
        _say(host, f" next: log in over the provider's console and read `journalctl -u bastide-guard-{name}`")
    else:
        # the session that holds the machine may have been cut off meanwhile: the next run must not wait for its end
        _over_new_login(host, before, released(), 5)
        _say(host, f"{name}: the old state is back ({reason})")
        _say(
            host,
            " next: compare the settings (firewall.operators, ssh, users.automation, accounts, kernel) with how you log"
            " in",
        )
    return False


def _say(host: Host, sentence: str) -> None:
    host.log_styled(sentence, fg="red", log_func=logger.error)


def _wait_until_back(host: Host, name: str, port: int) -> str | None:
    """Poll with new logins, at the port of the old state, until the machine says that it has gone back, and why."""
    deadline = time.monotonic() + _BACK_SECONDS
    while time.monotonic() < deadline:
        lines = _over_new_login(host, port, remote.call("change", "report", name), 5)
        if isinstance(lines, list) and lines:
            report: dict[str, Any] = json.loads(lines[-1])
            if not report["armed"] and report["taken_back"]:
                return str(report["taken_back"]["reason"])
        gevent.sleep(1)
    return None


def _try_login(host: Host, port: int, asked: remote.Quiet) -> str | None:
    """Try until it works (None) or the time is up (the last problem), ever more slowly.

    Refused logins cost penalties (sshd_config(5), PerSourcePenalties), and the way back must not wait for their end.
    """
    deadline = time.monotonic() + LOGIN_SECONDS
    problem, pause = "no answer", 0.2
    while (rest := deadline - time.monotonic()) > 0:
        lines = _over_new_login(host, port, asked, rest)
        if isinstance(lines, list):
            return None
        problem, pause = lines, 2 * pause
        gevent.sleep(min(pause, max(deadline - time.monotonic(), 0)))
    return problem


def _over_new_login(host: Host, port: int, asked: remote.Quiet, seconds: float) -> list[str] | str:
    """Run a script as root over a connection of its own. Returns its lines, or in one string why it did not work."""
    connector: Any = host.connector_cls(host.state, host)
    try:
        with gevent.Timeout(max(seconds, 0.1)):
            connector.data["ssh_port"] = port
            connector.connect()
            command = StringCommand(f"{remote.AS_ROOT}; echo '{remote.NO_ROOT}' >&2; exit 1")
            worked, output = connector.run_shell_command(command, _stdin=asked)
            return output.stdout_lines if worked else (output.stderr.strip() or "it ended with an error")
    except gevent.Timeout:
        return "no answer"
    except (PyinfraError, SSHException, OSError, EOFError) as error:
        return str(error) or type(error).__name__
    finally:
        if connector.client is not None:
            connector.client.close()


def address_in_use(host: Host) -> str:
    """The machine's address that this run goes to; "" when there is no session."""
    client = cast(SSHConnector, host.connector).client
    transport = client.get_transport() if client else None
    return str(transport.getpeername()[0]) if transport else ""


def _port_in_use(host: Host) -> int:
    """The port of the session that this run goes over."""
    transport = cast(SSHConnector, host.connector).client.get_transport()  # type: ignore[union-attr]
    return int(transport.getpeername()[1]) if transport else 22
