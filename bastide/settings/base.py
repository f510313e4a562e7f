"""`settings.base`: what every machine has in common before it becomes anything in particular."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bastide.settings.common import Area

# what would take the place of what the platform installs and proves: they would take turns, a run each
INSTEAD = {
    **dict.fromkeys(("chrony", "ntp", "ntpd", "ntpsec", "openntpd"), "systemd-timesyncd keeps the time"),
    **dict.fromkeys(
        ("ufw", "firewalld", "shorewall", "ferm", "iptables-persistent", "netfilter-persistent"),
        "the platform has its own firewall (settings.firewall)",
    ),
    **dict.fromkeys(("dropbear", "tinysshd"), "openssh-server is the way in"),
}


def _beside_ours(value: str) -> str:
    if value in INSTEAD:
        raise ValueError(f"cannot be: {INSTEAD[value]}")
    return value


DebianPackage = Annotated[  # Debian Policy 5.6.1
    str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$"), AfterValidator(_beside_ours)
]


class Journal(Area):
    """Limits of the system journal: what fills a disk must be bounded."""

    max_use_mb: Annotated[int, Field(ge=64, le=100_000)] = 500
    """Megabytes that the journal may take on disk."""
    keep_days: Annotated[int, Field(ge=1, le=366)] = 30
    """Days after which entries are removed."""


class Base(Area):
    """Packages, time, locale, journal."""

    timezone: Annotated[str, Field(pattern=r"^[A-Za-z_]+(/[A-Za-z0-9_+-]+)*$")] = "Etc/UTC"
    """Time zone of all machines, a name from the tz database."""
    locale: Annotated[str, Field(pattern=r"^[A-Za-z_]+(\.UTF-8)$")] = "C.UTF-8"
    """System locale; UTF-8 only. C.UTF-8 needs nothing generated."""
    packages: tuple[DebianPackage, ...] = ()
    """Debian packages that every machine gets besides those that Bastide itself needs."""
    journal: Journal = Journal()
    """Limits of the system journal."""
