"""A deploy of one secret, for the rehearsal: `pyinfra hosts/inventory.py tests/rehearsal/canary.py`."""

from __future__ import annotations

from pydantic import SecretStr
from pyinfra.context import host

from bastide.secrets import Keyring
from deploys.operations.files import secret_file

PATH = "/etc/bastide/canary"
PURPOSE = "rehearsal-canary"


def canary(keyring: Keyring) -> str:
    """The secret as it stands in the file."""
    return keyring.derive(PURPOSE).hex()


if __name__ != "tests.rehearsal.canary":
    secret_file(name="canary", path=PATH, content=SecretStr(canary(host.data.keyring)), _sudo=True)
