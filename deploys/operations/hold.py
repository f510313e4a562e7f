"""One deploy at a time: two operators who change the same machines at once would both believe what they saw before."""

from __future__ import annotations

import getpass
import json
import secrets
import socket
import time
from collections.abc import Generator

from pyinfra import logger
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from deploys import remote
from deploys.facts.ask import this_host

# which run holds a machine, also when it speaks over another session
_RUN = secrets.token_hex(8)


@operation()
def hold() -> Generator[PyinfraCommand | str, None, None]:
    """Take every machine that this run will change, before it changes any; fail when somebody else deploys to one.

    To be called first, on all hosts. The machine is held by the ssh session of this run and free when that is over
    (`deploys/remote/hold.py`). A run that changes nothing holds nothing: a dry run, or one on converged machines.
    """
    host = this_host()
    if not host.state.is_executing or not _will_change(host):
        return
    worked, output = host.run_shell_command(
        StringCommand(remote.AS_ROOT), _stdin=remote.call("hold", "hold", _who(), _RUN), _sudo=False
    )
    if not worked:
        yield _refusal(f"it does not say whether somebody deploys to it: {output.stderr.strip()}", "log in and look")
    elif other := json.loads(output.stdout_lines[-1]):
        since = time.strftime("%H:%M:%S", time.localtime(other["since"]))
        yield _refusal(
            f"{other['who']} deploys to it since {since}; nothing has been changed by this run",
            "wait until that is done, then run the same command again",
        )


def released() -> remote.Quiet:
    """What a new login runs to give back a machine that this run holds by a session that is cut off.

    The machine may see the end of such a session a minute later: it comes behind what the network has yet to carry.
    """
    return remote.call("hold", "release", _RUN)


def _refusal(what: str, next_step: str) -> FunctionCommand:
    """A command that fails with two lines (an error that is raised here would show a traceback)."""

    def fail(state: State, host: Host) -> bool:
        for sentence in (what, f" next: {next_step}"):
            host.log_styled(sentence, fg="red", log_func=logger.error)
        return False

    return FunctionCommand(fail, (), {})


def _will_change(host: Host) -> bool:
    """Whether any other operation of this run would change something now.

    With `-y` pyinfra prepares operations without looking, so they are asked here, from what is known of the machine.
    Asking one leaves the host as if no operation ran (pyinfra/api/operation.py), which this one then puts right.
    """
    names = ("in_op", "current_op_hash", "current_op_global_arguments", "current_op_deploy_data")
    mine = {name: getattr(host, name) for name in names}
    try:
        others = [data for op_hash, data in host.state.ops[host].items() if op_hash != mine["current_op_hash"]]
        return any(data.operation_meta.will_change for data in others)
    finally:
        for name, value in mine.items():
            setattr(host, name, value)


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"somebody@{socket.gethostname()}"
