"""Groups of the system."""

from __future__ import annotations

from pyinfra.api.operation import operation

from deploys.facts.ask import ask, forget, this_host
from deploys.facts.groups import GROUPS
from deploys.operations.files import Commands


@operation()
def empty_group(group: str) -> Commands:
    """A group of the system that nobody is in.

    + group: its name
    """
    host = this_host()
    members = ask(host, GROUPS.request([group]))[GROUPS][group]
    if members == []:
        host.noop(f"nobody is in {group}")
        return
    if members:
        host.log(f"! {', '.join(members)} in the group {group}: nobody is to be")
    try:
        yield f"groupadd --force --system {group} && gpasswd --members '' {group} >/dev/null"
    finally:
        forget(host)
