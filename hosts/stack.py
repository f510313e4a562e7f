"""The one reader of a stack: what is wanted, what exists, and the secrets, joined and checked against each other.

Everything that commands, the inventory and the connector know of a stack's secrets and outputs comes from here.

Settings come from the stack file, which is Pulumi's configuration; the secrets in it are opened by `pulumi config`, the
machines are read by `pulumi stack output`. So a changed setting needs no `pulumi up` to reach the machines, and no
secret has to be an output.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bastide import stackfile
from bastide.authority import authorities
from bastide.errors import StackError
from bastide.machines import Inventory, Machine, Prober, build_dir, machine_from
from bastide.provider import Access
from bastide.pulumi_config import DEFAULT_STACK, PASSPHRASE, StackConfig, ask_pulumi, open_config
from bastide.secrets import AlertSecrets, Keyring
from bastide.settings import AnyServer, ExistingServer, Settings
from hosts.transport.known_hosts import with_host_keys


@dataclass(frozen=True)
class Stack:
    """A stack whose settings and machines fit together. `machines` stand in the order of the settings."""

    name: str
    root: Path
    settings: Settings
    machines: tuple[Machine, ...]
    keyring: Keyring
    prober: Prober | None = None
    resolver: str = ""
    alert_secrets: AlertSecrets = field(default_factory=AlertSecrets)

    def inventory(self) -> Inventory:
        """All that a check needs to reach the machines, without a secret."""
        automation, verification = self.settings.users.automation, self.settings.users.verification
        return Inventory(
            stack=self.name,
            environment="lab" if self.settings.lab else "cloud",
            user=automation.name,
            identity=automation.identity,
            port=self.settings.ssh.port,
            machines=self.machines,
            prober=self.prober,
            resolver=self.resolver,
            mesh=self.settings.mesh if self.settings.ssh.open_to == "vpn" else {},
            verifier=verification.name if verification else "",
            verifier_identity=verification.identity if verification else "",
            authorities=authorities(self.keyring) if self.settings.postgres else {},
        )


def stack_name() -> str:
    """The stack that bare commands work on: $BASTIDE_STACK, else the local one, never a real one by accident."""
    return os.environ.get("BASTIDE_STACK") or DEFAULT_STACK


def load_stack(stack: str, root: Path) -> Stack:
    """Read a stack; `root` is the project's folder.

    Raises `SettingsError` for mistakes in the stack file and `StackError` for everything else that is missing: the
    right folder, the environment, the passphrase, the machines.
    """
    root = root.absolute()
    if not (root / "stacks").is_dir() or not (root / "hosts").is_dir():
        raise StackError(
            f"{root} is not the project's folder", "cd to where README.md and stacks/ are; it works there only"
        )
    settings = stackfile.read(stackfile.stack_path(stack, root))
    _check_environment(stack)
    with ThreadPoolExecutor(2) as pool:
        opening = pool.submit(opened, stack, root)
        outputs = pool.submit(ask_pulumi, stack, root, "stack", "output", "--json", "machines")
        config = opening.result()
        machines = _machines(outputs.result(), settings)
    return Stack(
        name=stack,
        root=root,
        settings=settings,
        machines=with_host_keys(machines, stack, root),
        keyring=config.keyring(),
        prober=load_prober(stack, root) if settings.lab else None,
        resolver=load_resolver(stack, root) if settings.lab else "",
        alert_secrets=config.alert_secrets(),
    )


def opened(stack: str, root: Path) -> StackConfig:
    """The configuration of a stack with its secrets alone. Raises `StackError` without a passphrase that opens it."""
    return open_config(stack, root)


def provider_access(stack: str, root: Path) -> Access:
    """What opens the provider's API. Raises `StackError` without a passphrase that opens the stack, or a token."""
    return access_in(opened(stack, root))


def access_in(config: StackConfig, *, dns: bool = False) -> Access:
    """The same of a configuration that is open already, for `dns` with the zones' own token, where they have one."""
    access = config.access(dns=dns)
    if not access.token:
        raise StackError(f"the stack {config.stack} has no API token", "pulumi config set --secret hcloud:token")
    return access


def load_prober(stack: str, root: Path) -> Prober | None:
    """The lab's outside machine, as `python -m lab up --info` has described it; None when it has not."""
    path = build_dir(stack, root) / "lab.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["prober"]
        return Prober(**{key: data[key] for key in ("name", "user", "address", "address6", "host_key")})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise StackError(f"{path} does not describe a lab", "run `make up`, which writes it anew") from None


def load_resolver(stack: str, root: Path) -> str:
    """The lab's name server, which alone knows its names; "" when `python -m lab up --info` has named none."""
    try:
        return str(json.loads((build_dir(stack, root) / "lab.json").read_text(encoding="utf-8")).get("resolver", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _check_environment(stack: str) -> None:
    hint = f'eval "$(make env stack={stack})"'
    if not os.environ.get("PULUMI_BACKEND_URL"):
        raise StackError(f"the environment of the stack {stack} is not set (PULUMI_BACKEND_URL)", hint)
    if not any(name in os.environ for name in PASSPHRASE):
        raise StackError(f"there is no passphrase for the stack {stack} ({' or '.join(PASSPHRASE)})", hint)
    file = os.environ.get(PASSPHRASE[1])
    if file and PASSPHRASE[0] not in os.environ and not Path(file).is_file():
        raise StackError(f"the passphrase file {file} does not exist", "put the stack's passphrase there")


def _machines(outputs: Any, settings: Settings) -> tuple[Machine, ...]:  # noqa: ANN401
    """The machines of the output in the order of the settings. Raises `StackError` where the two differ."""
    if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
        raise StackError("the stack's output `machines` is not a list of machines", "run `pulumi up`")
    found = {machine.name: machine for machine in map(machine_from, outputs)}
    differences = [f"{name} is in the settings but does not exist" for name in settings.servers if name not in found]
    differences += [f"{name} exists but is not in the settings" for name in found if name not in settings.servers]
    for name, server in settings.servers.items():
        for key, wanted in _declared(server).items():
            is_now = getattr(found.get(name), key, None)
            if name in found and wanted != is_now:
                differences.append(f"{name} has the {key} {is_now or 'none'}, the settings say {wanted or 'none'}")
    differences += [
        f"{name} has no volume, the settings say {size} GB"
        for name, size in settings.volumes.items()
        if name in found and name in settings.made and not found[name].volume
    ]
    if differences:
        moved = all(" has the location " in text for text in differences)
        hint = "put it back: no server is moved by an edit; docs/how-to/lose-a-server.md says how to replace one"
        raise StackError(
            "settings and machines differ: " + "; ".join(differences), hint if moved else "run `pulumi up` first"
        )
    return tuple(found[name] for name in settings.servers)


def _declared(server: AnyServer) -> dict[str, object]:
    """What the settings say of a machine, as far as its output must say the same."""
    if isinstance(server, ExistingServer):
        return {
            "role": server.role,
            "id": server.id,
            "address": server.address,
            "address6": server.address6 or "",
            "private_address": "",
            "hoster": server.hoster,
            "city": server.city,
            "country_code": server.country,
        }
    return {field: getattr(server, field) for field in ("role", "location", "generation", "private_address")}
