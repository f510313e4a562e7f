"""`settings.ssh`: how people and machines log in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bastide.settings.common import Area
from bastide.settings.firewall import Port


class Ssh(Area):
    """Keys only, root off, strong algorithms: those are not settings. These are."""

    port: Port = 22
    """Port of the ssh server."""
    open_to: Literal["operators", "anywhere", "vpn"] = "operators"
    """Who may reach the port: `operators` (settings.firewall.operators), `anywhere`, or `vpn` (administrators)."""
    max_auth_tries: Annotated[int, Field(ge=2, le=6)] = 3
    """Attempts per connection (sshd_config(5), MaxAuthTries)."""
    login_grace_seconds: Annotated[int, Field(ge=10, le=120)] = 30
    """Seconds in which a login must be complete (LoginGraceTime)."""
    idle_minutes: Annotated[int, Field(ge=1, le=120)] = 10
    """Minutes after which a client that no longer answers is disconnected."""
