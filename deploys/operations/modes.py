"""Who may read what is there already."""

from __future__ import annotations

import shlex

from pyinfra.api.operation import operation

from bastide.layout.base import Closed
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.fact import FactRequest, Facts
from deploys.facts.files import MODES
from deploys.operations.files import Commands


@operation()
def close(wanted: tuple[Closed, ...]) -> Commands:
    """Give files and folders of others the mode and group that they shall have; root owns them. None is made.

    + wanted: path, mode and group of each; only where nobody but root may write, for a link would be followed
    """
    host = this_host()
    off = wide_open(wanted, ask(host, close_request(wanted)))
    if not off:
        host.noop("all are closed")
        return
    try:
        for one in off:
            path = shlex.quote(one.path)
            yield f"chown root:{one.group} {path} && chmod {one.mode:04o} {path}"
    finally:
        forget(host)


def close_request(wanted: tuple[Closed, ...]) -> FactRequest:
    """What the operation asks."""
    return MODES.request(sorted(one.path for one in wanted))


def wide_open(wanted: tuple[Closed, ...], facts: Facts) -> list[Closed]:
    """Those that are there with another mode, owner or group."""
    return [one for one in wanted if facts[MODES][one.path] not in ("", f"{one.mode:04o} root {one.group}")]
