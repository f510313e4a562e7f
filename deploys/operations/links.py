"""Symbolic links."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from deploys.facts.ask import ask, forget, this_host
from deploys.facts.links import LINKS


@operation()
def link(path: str, target: str) -> Generator[PyinfraCommand | str, None, None]:
    """Point a symbolic link at `target`, replacing what is there in one step.

    + path: the link
    + target: what it points to
    """
    host = this_host()
    if ask(host, LINKS.request([path]))[LINKS].get(path) == target:
        host.noop(f"{path} points to {target}")
        return
    fresh = shlex.quote(f"{path}.bastide-new")
    try:
        yield f"ln -sfn {shlex.quote(target)} {fresh} && mv -fT {fresh} {shlex.quote(path)}"
    finally:
        forget(host)
