"""What the engine hands the program, parsed once into the model."""

from __future__ import annotations

import os

import pulumi

from bastide.errors import StackError
from bastide.secrets import Keyring, keyring_from
from bastide.settings import Settings
from bastide.stackfile import parse, stack_path


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
    if not (pulumi.Config("hcloud").get("token") or os.environ.get("HCLOUD_TOKEN")):
        raise StackError(
            f"{file} has no API token (hcloud:token)",
            "make one in the provider's console (read and write), then `pulumi config set --secret hcloud:token`",
        )
    secrets = config.get_secret_object("secrets")
    if secrets is None:
        keyring_from(stack, None)  # says how to set one
        raise AssertionError("an empty keyring is refused")
    return settings, secrets.apply(lambda value: keyring_from(stack, value.get("master")))
