"""`settings.updates`: when upgrades are installed, when machines may reboot, which archives count besides Debian's."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bastide.settings.common import Area, Name

_BEGIN, _END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
Day = Literal["daily", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def _clock(value: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError("must be a time of day like 03:00")
    return value


def _archive_key(value: str) -> str:
    """RFC 9580, section 6.2: an armored block that begins with a public key packet (tag 6)."""
    lines = [line.strip() for line in value.strip().splitlines()]
    if any("PRIVATE KEY" in line for line in lines):
        raise ValueError("is a private key; the stack file holds public ones only")
    if len(lines) < 4 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError(f"must be the whole text from {_BEGIN} to {_END}")
    body = lines[lines.index("") + 1 : -1] if "" in lines else []
    try:
        data = base64.b64decode("".join(line for line in body if not line.startswith("=")), validate=True)
    except binascii.Error:
        data = b""
    if not data or data[0] not in (0x98, 0x99, 0xC6):
        raise ValueError("is not a whole OpenPGP public key: its middle part does not decode (a line cut off?)")
    return "\n".join(lines) + "\n"


Clock = Annotated[str, AfterValidator(_clock)]


class Source(Area):
    """One signed package archive besides Debian's own. Its name is its key in `settings.updates.sources`."""

    url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/+-]*)?$")]
    """Where the archive lies; what stands before `dists/`."""
    suite: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    """The suite (or code name) that is used of it."""
    components: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+$")], ...], Field(min_length=1)] = (
        "main",
    )
    """Its components."""
    key: Annotated[str, AfterValidator(_archive_key)]
    """The archive's public OpenPGP key, armored. Only what it has signed is taken from this archive."""
    upgrade: bool = False
    """Whether its newer packages are installed without being asked, as Debian's security updates are."""


class Reboot(Area):
    """When machines may reboot, one after the other: the witness, then each standby, then the primary."""

    day: Day = "daily"
    """Day of the first machine's window: `daily`, or `Mon` to `Sun`."""
    begin: Clock = "03:00"
    """Time of day of the first machine's window, in settings.base.timezone."""
    minutes_apart: Annotated[int, Field(ge=10, le=240)] = 30
    """Minutes from one machine's window to the next one's; upgrades keep the same distance."""


class Updates(Area):
    """Unattended upgrades and the reboots that make them effective."""

    begin: Clock = "01:00"
    """Time of day at which the first machine installs upgrades, in settings.base.timezone."""
    stable: bool = True
    """Whether the point releases of Debian stable are installed, too; security updates always are."""
    max_pending_days: Annotated[int, Field(ge=1, le=30)] = 3
    """Days that a security update or the reboot it needs may wait before an alert is raised and the proof fails."""
    reboot: Reboot = Reboot()
    """When machines may reboot, if an update needs it."""
    sources: dict[Name, Source] = Field(default={})
    """Signed package archives besides Debian's own, by name."""
