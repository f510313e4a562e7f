"""Waiting until something is true on a machine."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation

from deploys.facts.ask import this_host, unchanged


@operation()
def wait(
    until: str, seconds: int = 30, unless: str = "false", for_what: str = "", seen: bool = False
) -> Generator[PyinfraCommand | str, None, None]:
    """Wait until a shell command ends with 0, and fail when it does not in time.

    + until: the shell command; run about three times a second
    + seconds: the deadline
    + unless: a shell command that ends with 0 when waiting is in vain (a failed unit, say): then fail at once
    + for_what: what is waited for, in words, for the message
    + seen: whether it was true at the last look; then it is asked for only if the machine was changed since

    Only waits while a deploy is carried out, and reports "No change" when it was true at once.
    """
    host = this_host()
    if not host.state.is_executing:
        return  # what it waits for may be made by an operation before it
    if seen and unchanged(host):
        host.noop(f"{for_what or until}: seen")
        return
    if host.run_shell_command(StringCommand("sh", "-c", QuoteString(until)), _sudo=True)[0]:
        return
    what = shlex.quote(for_what or until)
    yield StringCommand(
        "sh",
        "-c",
        QuoteString(
            f"end=$(($(date +%s) + {seconds})); "
            f"until {{ {until}; }} >/dev/null 2>&1; do "
            f"if {{ {unless}; }} >/dev/null 2>&1; then echo 'in vain:' {what} >&2; exit 1; fi; "
            f"if [ $(date +%s) -ge $end ]; then echo 'not within {seconds} s:' {what} >&2; exit 1; fi; "
            "sleep 0.3; done"
        ),
    )
