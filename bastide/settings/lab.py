"""`settings.lab`: with this key `make up` starts the local cloud; without it nothing of the lab is used."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bastide.settings.common import Area


class Lab(Area):
    """The local cloud that the stack lives in."""

    port: Annotated[int, Field(ge=1024, le=65535)]
    """Port on loopback at which the local cloud's API listens; `hcloud:endpoint` names the same one."""
