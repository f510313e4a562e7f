"""The same machines and the same data over pyinfra's own ssh connector: the baseline of the deploy figures.

The recorded host keys are written once more under the machines' addresses, since that connector knows no aliases.
"""

from __future__ import annotations

from pathlib import Path

import paramiko.client

from bastide.machines import identity_path as _identity_path
from hosts.stack import load_stack as _load_stack
from hosts.stack import stack_name as _stack_name
from hosts.transport.key_exchange import HybridTransport as _HybridTransport

# a hardened machine lets no client in without it; nothing else of ours is in this connection
paramiko.client.Transport = _HybridTransport  # type: ignore[attr-defined]
_root = Path.cwd()
_stack = _load_stack(_stack_name(), _root)
_known = _root / "build" / _stack.name / "stock_known_hosts"
_known.write_text("".join(f"{machine.address} {machine.host_key}\n" for machine in _stack.machines))
_data = {
    "stack": _stack.name,
    "settings": _stack.settings,
    "machines": _stack.machines,
    "keyring": _stack.keyring,
    "_sudo": True,
    "ssh_user": _stack.settings.users.automation.name,
    "ssh_port": _stack.settings.ssh.port,
    "ssh_key": str(_identity_path(_stack.settings.users.automation.identity, _root)),
    "ssh_known_hosts_file": str(_known),
    "ssh_strict_host_key_checking": "yes",
    "ssh_allow_agent": False,
    "ssh_look_for_keys": False,
}
globals()["all"] = ([(f"@ssh/{machine.address}", {"machine": machine}) for machine in _stack.machines], _data)
_primary = next(machine for machine in _stack.machines if machine.role == "primary")
primary = [f"@ssh/{_primary.address}"]
