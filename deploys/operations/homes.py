"""Homes, and what shells read in them."""

from __future__ import annotations

from pyinfra.api.operation import operation

from deploys import remote
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.homes import HOMES
from deploys.operations.files import Commands


@operation()
def closed_homes(accounts: tuple[str, ...]) -> Commands:
    """Close homes and what shells read at their start to others. Nobody gets more than he had.

    + accounts: whose
    """
    host = this_host()
    open_ = ask(host, HOMES.request(sorted(accounts)))[HOMES]
    if not open_:
        host.noop("homes are closed")
        return
    try:
        yield remote.command("homes", "close", open_)
    finally:
        forget(host)
