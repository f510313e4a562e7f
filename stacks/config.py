"""What the engine hands the program, parsed once into the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import pulumi

from bastide.errors import StackError
from bastide.secrets import Keyring, StorageKeys, keyring_from, storage_keys_from
from bastide.settings import Settings
from bastide.stackfile import parse, stack_path

T = TypeVar("T")


def read_config() -> tuple[Settings, pulumi.Output[Keyring]]:
    """The stack's settings, and its keyring as a secret output.

    Raises `SettingsError` with every mistake, `StackError` when a key is missing; nothing has been made then.
    """
    stack = pulumi.get_stack()
    file = stack_path(stack)
    config = pulumi.Config("bastide")
    data = config.get_object("settings")
    if data is None:
        raise StackError(f"{file} has no bastide:settings", "copy them from stacks/Pulumi.example.yaml")
    settings = parse(data, str(file))
    # a token is only asked for when something is to be made with it
    needed = settings.made or (settings.dns is not None and dns_token() is None)
    if needed and not (pulumi.Config("hcloud").get("token") or os.environ.get("HCLOUD_TOKEN")):
        raise StackError(
            f"{file} has no API token (hcloud:token)",
            "make one in the provider's console (read and write), then `pulumi config set --secret hcloud:token`",
        )
    secrets = config.get_secret_object("secrets")
    if secrets is None:
        keyring_from(stack, None)  # says how to set one
        raise AssertionError("an empty keyring is refused")
    return settings, secrets.apply(lambda value: _keyring(stack, value))


def dns_token() -> pulumi.Output[str] | None:
    """The API token of the zones' own project, as a secret; None when they live in the servers' project."""
    config = pulumi.Config("bastide")
    plain = config.get_object("secrets")
    if not isinstance(plain, Mapping) or not (plain.get("dns") or {}).get("token"):
        return None
    secrets = config.require_secret_object("secrets")
    return secrets.apply(lambda value: str(value["dns"]["token"]))


def read_storage_keys() -> pulumi.Output[StorageKeys]:
    """The keys of the object storage, as a secret output. Raises like `read_config` when there are none."""
    stack = pulumi.get_stack()
    secrets = pulumi.Config("bastide").get_secret_object("secrets")
    if secrets is None:
        storage_keys_from(stack, None)  # says how to set them
        raise AssertionError("missing keys are refused")
    return secrets.apply(lambda value: _shown(lambda: storage_keys_from(stack, value)))


def _keyring(stack: str, secrets: object) -> Keyring:
    return _shown(lambda: keyring_from(stack, secrets.get("master") if isinstance(secrets, Mapping) else None))


def _shown(read: Callable[[], T]) -> T:
    """What was read, or what is wrong with it in the words that the engine shows (it is opened after the program)."""
    try:
        return read()
    except StackError as error:
        raise pulumi.RunError(f"{error.message}\nnext: {error.hint}") from None
