"""Shells of accounts that are the system's."""

from __future__ import annotations

import shlex

from pyinfra.api.operation import operation

from deploys.facts.ask import ask, forget, this_host
from deploys.facts.shells import FALSE_SHELLS
from deploys.operations.files import Commands


@operation()
def nologin_shells() -> Commands:
    """Give accounts of the system that have false(1) for a shell nologin(8), which says why nobody gets in.

    One that has a real shell is somebody's: a check names it.
    """
    host = this_host()
    names = ask(host, FALSE_SHELLS.request(None))[FALSE_SHELLS]
    if not names:
        host.noop("accounts of the system have nologin")
        return
    try:
        yield " && ".join(f"usermod --shell /usr/sbin/nologin {shlex.quote(name)}" for name in names)
    finally:
        forget(host)
