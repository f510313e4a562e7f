"""What the account of the checks may run as root, by digest: written in every run, whatever else it is for.

The scripts carry values of the stack file, so that any change of settings may change them: a list that only a whole
deploy wrote would be wrong after each deploy of a part.
"""

from __future__ import annotations

import gevent  # type: ignore[import-untyped]
from pyinfra.api.deploy import deploy

from bastide.checks import listed_scripts
from bastide.errors import BastideError
from bastide.layout.users import LISTED
from bastide.machines import Inventory
from deploys.facts.fact import FactRequest
from deploys.here import Here
from deploys.operations.files import File, files, files_request
from deploys.render import render

_listings: dict[str, gevent.Greenlet] = {}


@deploy("checks")
def checks(listed: dict[str, str] | None) -> None:
    """The list, from names by digest. `None`: nothing is listed, and then no program runs anything."""
    files(name="what checks may run", name_="checks", wanted=(list_file(listed),))


def listed_on(here: Here) -> dict[str, str] | None:
    """The names of this machine's scripts by their digests; `None` without an account for checks.

    The checks are asked once for all machines. Raises `BastideError` when they cannot say.
    """
    begin(here)
    if here.settings.users.verification is None:
        return None
    found: dict[str, dict[str, str]] | BastideError = _listings[here.stack].get()
    if isinstance(found, BastideError):
        raise found
    return found[here.machine.name]


def begin(here: Here) -> None:
    """Have the checks asked, while the machines are: starting them takes a moment."""
    if here.settings.users.verification is None or here.stack in _listings:
        return
    assert here.inventory, "hosts/inventory.py gives it to all"
    _listings[here.stack] = gevent.spawn(_listing, here.inventory)


def fact_request() -> FactRequest:
    """All that this will ask a machine."""
    return files_request((list_file(None),))


def list_file(listed: dict[str, str] | None) -> File:
    """The list, from names by digest; no file for `None`."""
    if listed is None:
        return File(LISTED, None)
    return File(LISTED, render("users/checks.j2", listed=sorted(listed.items(), key=lambda one: one[::-1])))


def _listing(inventory: Inventory) -> dict[str, dict[str, str]] | BastideError:
    """An error is told to whoever needs the answer, and not by gevent."""
    try:
        return listed_scripts(inventory)
    except BastideError as error:
        return error
