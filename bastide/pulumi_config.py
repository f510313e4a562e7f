"""A stack's configuration as Pulumi opens it, with the secrets in it. Nothing else runs `pulumi config` to read them.

What is not secret is read from the stack file itself (`bastide/stackfile.py`), without Pulumi and a passphrase.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bastide.console import Completed, run, tail_of
from bastide.errors import CommandFailed, StackError
from bastide.provider import UPSTREAM_ENDPOINT, Access
from bastide.secrets import (
    AlertSecrets,
    Keyring,
    StorageKeys,
    alert_secrets_from,
    keyring_from,
    storage_keys_from,
)
from bastide.stackfile import SECRETS_KEY

DEFAULT_STACK = "lab"
PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")

_PULUMI_SECONDS = 120.0


@dataclass(frozen=True)
class StackConfig:
    """An opened configuration. `secrets` is all of `bastide:secrets`; a token or endpoint that is not there is ""."""

    stack: str
    endpoint: str
    token: str = field(repr=False)
    secrets: Mapping[str, Any] = field(repr=False)

    def keyring(self) -> Keyring:
        """The master secrets. Raises `StackError` when there is none."""
        return keyring_from(self.stack, self.secrets.get("master"))

    def storage_keys(self) -> StorageKeys:
        """What opens the object storage. Raises `StackError` when it is not there."""
        return storage_keys_from(self.stack, self.secrets)

    def alert_secrets(self) -> AlertSecrets:
        """What opens the ways of alerts; who needs one says so where it is missing."""
        return alert_secrets_from(self.secrets)

    def access(self, *, dns: bool = False) -> Access:
        """What opens the provider's API; for `dns` with the token of the zones' project, where they have one."""
        token = self.token or os.environ.get("HCLOUD_TOKEN", "")
        own = self.secrets.get("dns") if dns else None
        if isinstance(own, Mapping):
            token = str(own.get("token") or token)
        return Access(self.endpoint or UPSTREAM_ENDPOINT, token)


def open_config(stack: str, root: Path, env: Mapping[str, str] | None = None) -> StackConfig:
    """The configuration of a stack. `env` is added to the environment: where the passphrase is, if not there.

    Raises `StackError` without a passphrase that opens it, and for whatever else Pulumi complains of.
    """
    found = ask_pulumi(stack, root, "config", "--json", "--show-secrets", env=env)
    return config_from(stack, found if isinstance(found, dict) else {})


def config_from(stack: str, found: Mapping[str, Any]) -> StackConfig:
    """From what `pulumi config --json` says by key: a structured value is in `objectValue`, or as JSON in `value`."""
    return StackConfig(
        stack, _value(found, "hcloud:endpoint"), _value(found, "hcloud:token"), _secrets(found.get(SECRETS_KEY))
    )


def ask_pulumi(stack: str, root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
    """What a pulumi command says as JSON. It may hold secrets: nothing of it goes into a message.

    Raises `StackError` with what Pulumi complains of and the next step.
    """
    argv = ["pulumi", "--non-interactive", "--color", "never", "--stack", stack, *arguments]
    try:
        done = run(argv, cwd=root, env=env, check=False, timeout=_PULUMI_SECONDS)
    except CommandFailed as error:
        if error.returncode == 127:
            raise StackError("pulumi is not on PATH", f'eval "$(make env stack={stack})"') from None
        raise
    if not done.ok:
        raise _complaint(stack, done)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise StackError(f"pulumi's answer on the stack {stack} is not JSON", "is this pulumi 3.2xx?") from None


def _complaint(stack: str, done: Completed) -> StackError:
    said = done.stderr.lower()
    create = "run `make up`" if stack == DEFAULT_STACK else f"run `make up stack={stack}`"
    for sign, message, hint in (
        ("no stack named", f"the stack {stack} does not exist yet", create),
        ("does not have output property", f"the stack {stack} has no machines yet", "run `pulumi up` first"),
        ("incorrect passphrase", f"the passphrase does not open the stack {stack}", "set that of this stack"),
        ("passphrase must be set", f"there is no passphrase for the stack {stack}", f"set {' or '.join(PASSPHRASE)}"),
        ("no pulumi.yaml", "there is no Pulumi.yaml here", "cd to the project's folder"),
    ):
        if sign in said:
            return StackError(message, hint)
    return StackError(f"pulumi could not read the stack {stack}:\n{tail_of(done.stderr)}", "mend that and try again")


def _value(found: Mapping[str, Any], key: str) -> str:
    entry = found.get(key)
    return str(entry.get("value", "")) if isinstance(entry, Mapping) else ""


def _secrets(entry: object) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        return {}
    value = entry.get("objectValue")
    if value is None:
        try:
            value = json.loads(entry.get("value") or "{}")
        except ValueError:
            value = None
    return value if isinstance(value, dict) else {}
