"""Runs on the machine as root: has the kernel take values, and can put back those that it had."""

from __future__ import annotations

import json
import sys

from deploys.remote.facts.common import at
from deploys.remote.facts.sysctls import matching, settable, value_at


def settle(wanted: dict[str, str], memory: str) -> None:
    """Set all values, by path; where `memory` is a file already, put back what it says instead.

    It is kept where a change lies that is not confirmed yet (deploys/remote/change.py), and goes with it: the second
    call is the way back. What a container may not set is left. Ends with 1 and the names of what the kernel refuses.
    """
    kept = at(memory)
    if kept.exists():
        _say(_set(json.loads(kept.read_text())))
        return
    named = {path for path in wanted if "*" not in path}
    new = {one: value for path, value in wanted.items() for one in matching(path) if one == path or one not in named}
    before = {path: value for path in new if (value := value_at(path)) is not None and settable(path)}
    if kept.parent.is_dir():
        kept.write_text(json.dumps(before))
    _say(_set({path: new[path] for path in before}))


def _set(values: dict[str, str]) -> list[str]:
    """Returns what the kernel did not take. One value may change another (forwarding): all are looked at afterwards."""
    refused = {}
    for path, value in values.items():
        if value_at(path) != value:
            try:
                at(f"/proc/sys/{path}").write_text(value)
            except OSError as error:
                refused[path] = error.strerror
    left = {path: found for path, value in values.items() if (found := value_at(path)) not in (value, None)}
    return [f"{path} stays {found} ({refused.get(path, 'it was changed again')})" for path, found in left.items()]


def _say(problems: list[str]) -> None:
    if problems:
        print(f"the kernel does not take what it is told: {'; '.join(problems)}", file=sys.stderr)
        hint = "mend settings.kernel.sysctl, or reboot: some values can be lowered by that alone"
        print(f" next: {hint} (unprivileged_bpf_disabled, kexec_load_disabled)", file=sys.stderr)
        sys.exit(1)
