"""pyinfra's connector for the machines of a stack: `@bastide/<machine>`.

Differs from pyinfra's own ssh connector in two things. A connection is made with strict host keys, new servers are
enrolled (`hosts/enrolment/`), and no agent, no password and no configuration of the user's is asked (`client.py`).
And a plain command as root goes through one lasting root process (`runner.py`); everything else, and commands with
input, a terminal or another user, go as pyinfra's own connector sends them.

pyinfra finds it by the entry point in pyproject.toml, so the project must be installed (`pip install -e .`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.output import echo, format_text
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command

from bastide.errors import BastideError
from hosts.enrolment.first_contact import open_strictly, target
from hosts.transport.runner import Runner

# pyinfra's arguments (api/arguments.py) that change nothing in how a root process runs a command
_PLAIN = {"_sudo", "_shell_executable", "_env", "_chdir", "_timeout", "_success_exit_codes"}
_HARMLESS = {"_retries", "_retry_delay", "_retry_until", "_temp_dir"}


class BastideConnector(SSHConnector):
    """A machine of the stack. Host data from `hosts/inventory.py` says how it is reached.

    It wants `stack`, `settings`, `machine` and `keyring`; the names of pyinfra's ssh connector have no effect.
    """

    _runner: Runner | None = None
    _runner_refused = False

    @staticmethod
    def make_names_data(name: str | None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """`@bastide/primary` is shown to people as `primary`."""
        if not name:
            raise ConnectError("say which machine: @bastide/<name>, as hosts/inventory.py does")
        yield name, {}, []

    def connect(self) -> None:
        """Connect with the recorded host key, after enrolling a new server.

        Raises pyinfra's `ConnectError` with what is wrong and what to do next.
        """
        self.disconnect()
        data = self.host.data
        if data.get("machine") is None:
            raise ConnectError("not a machine of a stack: use `pyinfra hosts/inventory.py ...`")
        try:
            goal = target(data.stack, Path.cwd(), data.settings, data.machine, data.get("keyring"))
            if port := self.data.get("ssh_port"):
                # a guarded change asks whether this very port lets it in
                goal = replace(goal, endpoint=replace(goal.endpoint, ports=(int(port),)))
            self.client = open_strictly(goal, self.host.log)
        except BastideError as error:
            raise ConnectError(f"{error.message}; next: {error.hint}" if error.hint else error.message) from None

    def disconnect(self) -> None:
        """Close the connection, so that the next one is judged anew (the stock connector leaves it open)."""
        super().disconnect()
        if self._runner is not None:
            self._runner.close()
        self._runner, self._runner_refused = None, False
        if self.client is not None:
            self.client.close()
            self.client = None

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,  # noqa: ANN401 - pyinfra's global arguments
    ) -> tuple[bool, CommandOutput]:
        """Run a command; returns whether it succeeded and what it printed (see pyinfra's `BaseConnector`)."""
        runner = self._root(arguments)
        if runner is None:
            return super().run_shell_command(command, print_output, print_input, **arguments)
        shape = {key: arguments[key] for key in ("_env", "_chdir", "_shell_executable") if key in arguments}
        shown = make_unix_command(command, **shape)
        if print_input:
            echo(f"{self.host.print_prefix}>>> {shown}", err=True)
        lines: list[OutputLine] = []

        def output(stream: str, line: str) -> None:
            lines.append(OutputLine(stream, line))
            if print_output:
                echo(f"{self.host.print_prefix}{line if stream == 'stdout' else format_text(line, 'red')}", err=True)

        code = runner.run(shown.get_raw_value(), output, arguments.get("_timeout"))
        return code in (arguments.get("_success_exit_codes") or [0]), CommandOutput(lines)

    def check_can_rsync(self) -> None:
        """Refused: rsync's own ssh would not know the recorded host key by its alias."""
        raise NotImplementedError("files.rsync does not know the recorded host keys; use files.put or files.sync")

    def _root(self, arguments: dict[str, Any]) -> Runner | None:
        """The root process, when it can run a command with these arguments."""
        unusual = {key for key, value in arguments.items() if value} - _PLAIN - _HARMLESS
        if not arguments.get("_sudo") or unusual or self._runner_refused or self.client is None:
            return None
        if self._runner is None or self._runner.closed:
            try:
                self._runner = Runner(self.client)
            except (OSError, EOFError, paramiko.SSHException):
                # the stock connector says what is wrong, if it goes wrong there too
                self._runner_refused = True
                return None
        return self._runner
