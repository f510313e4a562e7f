"""Who may read and write what is there: modes of files and folders, and homes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pyinfra.api.operation import operation

from deploys import remote
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.files import FILES
from deploys.facts.homes import HOMES
from deploys.operations.files import Commands


@operation()
def modes(wanted: Mapping[str, int], group: str = "root") -> Commands:
    """Give files and folders of root's a mode. What is not there is left.

    + wanted: modes by path; only where nobody but root may write, for a link would be followed
    + group: whose they are besides
    """
    host = this_host()
    there = ask(host, FILES.request(sorted(wanted)))[FILES]
    off = [
        (path, mode)
        for path, mode in wanted.items()
        if (seen := there[path]) and (seen["mode"], seen["owner"], seen["group"]) != (mode, "root", group)
    ]
    if not off:
        host.noop("modes are as wanted")
        return
    try:
        for path, mode in off:
            yield f"chown root:{group} {shlex.quote(path)} && chmod {mode:04o} {shlex.quote(path)}"
    finally:
        forget(host)


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
