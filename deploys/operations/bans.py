"""Lifting a ban of fail2ban's."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from bastide.errors import BastideError
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.fail2ban import FAIL2BAN, Fail2banState


@operation()
def unban(address: str) -> Generator[PyinfraCommand | str, None, None]:
    """Lift every ban of an address, in all jails; its earlier bans are forgotten, too.

    + address: IPv4 or IPv6, as `an_address` gives it
    """
    host = this_host()
    if not any(banned == address for _, banned, _ in bans(ask(host, FAIL2BAN.request(None))[FAIL2BAN])):
        host.noop(f"{address} is not banned")
        return
    try:
        yield f"fail2ban-client unban {address}"
    finally:
        forget(host)


def bans(seen: Fail2banState) -> list[tuple[str, str, str]]:
    """Who is banned, as (jail, address, when).

    When: "since 2026-11-21 09:37:06 until 2026-11-21 09:47:06", in the machine's time zone.
    """
    jails = seen["server"]["jails"] if seen["server"] else {}
    return [(name, address, _when(text)) for name, jail in jails.items() for address, text in jail["bans"].items()]


def an_address(word: object) -> str:
    """The address that `--data address=` names, as fail2ban writes it. Raises `BastideError` when it is none."""
    hint = "make unban address=203.0.113.9 (one IPv4 or IPv6 address; `make bans` lists all)"
    if word is None:
        raise BastideError("which address is to be freed?", hint)
    try:
        if "%" in str(word):
            raise ValueError("a zone id")
        return str(ipaddress.ip_address(str(word).strip()))
    except ValueError:
        raise BastideError(f"{word!r} is no address", hint) from None


def _when(text: str) -> str:
    """fail2ban says "2026-11-21 09:37:06 + 600 = 2026-11-21 09:47:06"."""
    since, _, rest = text.partition(" + ")
    return f"since {since} until {rest.partition(' = ')[2]}"
