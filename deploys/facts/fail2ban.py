"""fail2ban."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import fail2ban as on_machine


class JailState(TypedDict):
    """`bans`: by address what fail2ban says of since when and until when. `without_rule`: its rules were flushed."""

    ignoreip: list[str]
    maxretry: int
    findtime: int
    bantime: int
    bans: dict[str, str]
    without_rule: bool


class ServerState(TypedDict):
    """The server as it runs. `dbfile` is `None` when it remembers nothing."""

    dbfile: str | None
    dbpurgeage: int
    jails: dict[str, JailState]


class Fail2banState(TypedDict):
    """Our jail files; `server` is `None` when it does not run."""

    files: list[str]
    server: ServerState | None


FAIL2BAN = Fact(on_machine.fail2ban)
