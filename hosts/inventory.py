"""The machines of the stack, for pyinfra: `pyinfra hosts/inventory.py deploys/site.py`, from the project's folder.

- The stack is $BASTIDE_STACK, else `lab`; `eval "$(make env stack=S)"` sets it and what else is needed.
- Groups are the roles (primary, standby, witness) and the locations (fsn1, ...); `--limit standby` and `--limit <name>`
  both work, a group's name first.
- There is no group_data/ folder, and none is to be made: settings come from the stack file, typed and checked, as
  `host.data.settings`. A deploy gets its section of them, see deploys/site.py.
- pyinfra takes every list of strings in this file for a group of hosts, and the file's own name for one of all: helper
  names here begin with an underscore.
- pyinfra runs this file on its own, and puts the folder it was started in on the import path: it works from the
  project's folder only.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from bastide.console import die, exit_with
from bastide.errors import BastideError
from hosts.stack import load_stack as _load_stack
from hosts.stack import stack_name as _stack_name
from hosts.transport.call_stack import without_source as _without_source
from hosts.transport.limits import unknown_limits as _unknown_limits

_without_source()
try:
    _stack = _load_stack(_stack_name(), Path.cwd())
except BastideError as _error:
    # two lines for people instead of pyinfra's traceback
    exit_with(partial(die, _error.message, _error.hint))

_words = {_word for _machine in _stack.machines for _word in (_machine.name, _machine.role, _machine.location)}
if _unknown := _unknown_limits(sys.argv, _words):
    # pyinfra itself would do nothing, and call that a success
    _message = f"--limit: {', '.join(_unknown)}: there is no such machine or group"
    exit_with(partial(die, _message, f"there are {', '.join(sorted(_words))}"))

_data = {
    "stack": _stack.name,
    "settings": _stack.settings,
    "machines": _stack.machines,
    "inventory": _stack.inventory(),
    "keyring": _stack.keyring,
    "alert_secrets": _stack.alert_secrets,
    # the automation account is root by sudo, see settings.users.automation
    "_sudo": True,
}
_groups: dict[str, list[str]] = {}
for _machine in _stack.machines:
    for _group in (_machine.role, _machine.location):
        _groups.setdefault(_group, []).append(f"@bastide/{_machine.name}")

# `all` is pyinfra's name for every host with what they have in common
globals()["all"] = ([(f"@bastide/{_machine.name}", {"machine": _machine}) for _machine in _stack.machines], _data)
globals().update(_groups)
