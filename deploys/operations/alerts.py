"""Alerts, day two."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation

from bastide.layout.alerts import TEST_UNIT
from deploys.facts.ask import this_host

# as the unit, so with its account, its secrets and its sandbox; what it printed is in the journal
_RUN = f"""\
since=$(date +%s)
systemctl start {TEST_UNIT} || exit 1
journalctl --sync
journalctl -q -o cat -u {TEST_UNIT} --since=@$since | grep '^{{' | tail -n 1
"""
_NEXT = "settings.alerts, bastide:secrets.alerts, and the relay's or service's own log; then `make deploy only=alerts`"


@operation()
def alert_test() -> Generator[PyinfraCommand | str, None, None]:
    """Send a test message through every way, and say which took it; fails when one did not."""
    host = this_host()
    if not host.state.is_executing:
        return
    done, output = host.run_shell_command(StringCommand("sh", "-c", QuoteString(_RUN)), _sudo=True)
    lines = [line for line in output.stdout_lines if line.startswith("{")]
    if not done or not lines:
        yield _fail(f"the test could not be run; next: `make deploy only=alerts`, then `journalctl -u {TEST_UNIT}`")
        return
    refused = []
    for way, (taken, said) in json.loads(lines[-1]).items():
        host.log(f"{way}: {'taken' if taken else 'NOT taken'} ({said})")
        refused += [] if taken else [way]
    if refused:
        yield _fail(f"not taken by {' and '.join(refused)}; next: {_NEXT}")


def _fail(why: str) -> StringCommand:
    return StringCommand("sh", "-c", QuoteString(f"echo {shlex.quote(why)} >&2; exit 1"))
