"""What a new server is told at its first boot: just enough for a first, authenticated login."""

from __future__ import annotations

import json

from bastide.secrets import HostKeyPair
from bastide.settings import Settings


def user_data(settings: Settings, host_key: HostKeyPair) -> str:
    """A cloud-config document (JSON is YAML): the automation account and the bootstrap host key, nothing else.

    The bootstrap host key is the one secret in user_data, which every process on the server may read until the
    firewall deploy closes the metadata address. It proves the server at the first connection and is replaced over it.
    Hardening is left to the deploys: user_data cannot be changed later without replacing the server.
    """
    automation = settings.users.automation
    document = {
        "users": [
            {
                "name": automation.name,
                "gecos": "Bastide deploys",
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [automation.key],
            }
        ],
        "disable_root": True,
        "ssh_pwauth": False,
        # no host key of cloud-init's own making: nobody could know it
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {
            "ed25519_private": host_key.private.get_secret_value(),
            "ed25519_public": host_key.public,
        },
    }
    return "#cloud-config\n" + json.dumps(document, indent=1) + "\n"
