"""`settings.accounts`: what holds for each account and session, whoever it is."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bastide.settings.common import Area, Name

_BANNER = (
    "Authorized users only. All activity may be monitored and reported. "
    "Unauthorized access to this private system is prohibited."
)


def _banner(value: str) -> str:
    text = value.strip()
    if not text or len(text) > 1500:
        raise ValueError("must be text of 1 to 1500 characters")
    if not re.fullmatch(r"[ -~\n]+", text):
        raise ValueError("must be plain ASCII: a console shows it before it knows any language")
    if "\\" in text:
        raise ValueError("must have no backslash: agetty(8) would show names and versions in its place")
    return text


class Accounts(Area):
    """Sessions, passwords, jobs. No account of the platform has a password; these hold for one that gets one."""

    umask: Literal["027", "077"] = "027"
    """What a new file lacks: `027`, others may nothing; `077`, its owner alone may anything."""
    idle_minutes: Annotated[int, Field(ge=1, le=15)] = 10
    """Minutes without a key pressed after which a shell ends that somebody types into."""
    password_length: Annotated[int, Field(ge=14, le=64)] = 18
    """Characters that a new password must have at least."""
    password_tries: Annotated[int, Field(ge=3, le=5)] = 3
    """Wrong passwords after which an account takes none; its ssh keys still open it."""
    lock_minutes: Annotated[int, Field(ge=15, le=1440)] = 15
    """Minutes for which it takes none, and within which wrong ones count."""
    jobs: tuple[Name, ...] = ()
    """People who may plan jobs with cron and at, besides root."""
    banner: Annotated[str, AfterValidator(_banner)] = _BANNER
    """What everybody reads before they log in, at the console and by ssh; it names no version."""
