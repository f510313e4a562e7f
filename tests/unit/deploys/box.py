"""Settings and machines for the tests of deploys/."""

from __future__ import annotations

from typing import Any

from pydantic import SecretBytes, SecretStr

from bastide.machines import Machine
from bastide.secrets import AlertSecrets, Keyring
from bastide.settings import Settings, Source, Verification
from deploys.here import Here

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
CHECKS_KEY = f"{KEY}Jyc/3X1YfISe8rdfYu6hHUaptbN500EWuVAieYWQhfw verify@example.eu"
SETTINGS = Settings.model_validate(
    {
        "company": {"name": "Example Works", "domain": "example.eu", "security_contact": "security@example.eu"},
        "servers": {
            "primary": {"role": "primary", "location": "fsn1", "private_address": "10.20.0.11"},
            "standby": {"role": "standby", "location": "hel1", "private_address": "10.20.0.12"},
            "witness": {"role": "witness", "location": "nbg1", "private_address": "10.20.0.13"},
        },
        "firewall": {
            "operators": ("198.51.100.10/32", "2001:db8:ffff::10/128"),
            "public": ({"port": 443, "reason": 'web "pages"'}, {"port": 3478, "protocol": "udp", "reason": "calls"}),
        },
        "users": {
            "automation": {"key": f"{KEY}ORS8Ni+k81A5+zX2kfnx+CtclOJClLDL3V1t1L26xlJ bastide@example.eu"},
            "people": {
                "anna": {"keys": (f"{KEY}G540gUHism/JgBPUdTQKEPUH1ECuHCbgcCLRpL7O5vs anna@example.eu",), "sudo": True},
                "bruno": {"keys": (f"{KEY}B1Y6f6UQ9Zzcy1PPqkE4arIS9AqJp+z/aZDrDlC0nJX bruno@example.eu",)},
            },
            "removed": ("carla",),
        },
        "wireguard": {
            "administrators": {
                "anna": {"key": "53lkLkQpddyGE82a1cXkqY2YHn1xBSOaKYx5bqIiCFo=", "address": "10.21.0.101"}
            },
        },
    }
)
# who can log in where checks have an account of their own, too
GUARDED = SETTINGS.users.model_copy(update={"verification": Verification(keys=(CHECKS_KEY,))})
MACHINES = tuple(
    Machine(
        name,
        server.role,
        server.location,
        str(number),
        1,
        f"198.18.0.1{number}",
        f"2001:db8:{number}::1",
        server.private_address,
    )
    for number, (name, server) in enumerate(SETTINGS.made.items(), 1)
)
KEYRING = Keyring("unit", {"v1": SecretBytes(bytes(32))})

ALERTS: dict[str, Any] = {
    "mail": {
        "host": "smtp.example.eu",
        "username": "alerts",
        "sender": "alerts@example.eu",
        "recipients": ("operations@example.eu",),
    },
    "webhook": True,
    "heartbeat": {},
}
SECRETS = AlertSecrets(
    SecretStr("s3cret"), SecretStr("https://hook.example.eu/a"), SecretStr("https://beat.example.eu/b")
)


def here(machine: Machine = MACHINES[0], settings: Settings = SETTINGS, **more: Any) -> Here:
    """A machine as a run sees it; `more` has what is not as here."""
    return Here(
        **{"settings": settings, "machine": machine, "machines": MACHINES, "stack": "unit", "keyring": KEYRING} | more
    )


# the public part of a key that was made for this test and thrown away
ARCHIVE_KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawFqBRYJKwYBBAHaRw8BAQdAYtzaESNJXuP56lpJ21vKESI6OTfdFFxaDHFU
EYezmxC0C2xhYiBhcmNoaXZliJAEExYIADgWIQTjjQ73PadEkdueuQ/yoPjVG1SE
hAUCawFqBQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRDyoPjVG1SEhLqk
AP96Ph3nQeRLPwrE83jP6W6htWUq1u9LQHK1tCLuL/WngwEAvqS+Fil/lBe+nRM/
Iyn0gQsEIXr8utGpZO0goyIHHA4=
=uVuZ
-----END PGP PUBLIC KEY BLOCK-----
"""
SOURCE = Source(url="http://archive.example.eu/debian", suite="stable", key=ARCHIVE_KEY, upgrade=True)
