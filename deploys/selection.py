"""Which capabilities a run is for, what they ask of a machine, and how a run that cannot begin says so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from bastide.capabilities import ON_MACHINES
from bastide.errors import BastideError
from bastide.settings import Settings
from deploys import checks
from deploys.facts.fact import FactRequest, merged
from deploys.here import here_of
from deploys.modules import deployed
from deploys.operations.files import files_request
from deploys.operations.revision import record_files


class NotBegun(PyinfraError):
    """Shown by pyinfra as it is, without a traceback."""


def selected(only: object) -> tuple[str, ...]:
    """The capabilities that `--data only=a,b` names, in their order; all of them without it.

    Raises `BastideError` for a word that is none, so that a mistyped one never means "nothing to do".
    """
    if only is None:
        return ON_MACHINES
    words = only if isinstance(only, list) else str(only).split(",")
    asked = [str(word).strip() for word in words]
    if unknown := [word for word in asked if word not in ON_MACHINES]:
        raise BastideError(
            f"--data only={','.join(asked)}: {', '.join(map(repr, unknown))} is no capability",
            f"there are {', '.join(ON_MACHINES)}",
        )
    return tuple(word for word in ON_MACHINES if word in asked)


def fact_requests(only: tuple[str, ...]) -> Callable[[Host], FactRequest]:
    """What the selected capabilities will ask of a host."""

    def of(host: Host) -> FactRequest:
        here = here_of(host)
        wanted = ((module, module.wanted_of(here)) for module in map(deployed, only))
        asked = (module.fact_request(found) for module, found in wanted if found is not None)
        checks.begin(here)
        return merged(checks.fact_request(), files_request(record_files(here.keyring)), *asked)

    return of


def adopted(word: object, wanted: Settings) -> None:
    """Raise `BastideError` when `--data adopt=` names no machine that carries Postgres."""
    if word is not None:
        a_site(word, wanted, "adopt", "make deploy adopt=standby")


def a_site(word: object, wanted: Settings, key: str, example: str) -> str:
    """The machine that `--data KEY=` names: one that carries Postgres. Raises `BastideError` for any other word."""
    sites = ", ".join(wanted.sites)
    if word is None:
        raise BastideError(f"which machine? there are {sites}", example)
    if word not in wanted.sites:
        raise BastideError(f"{key}={word}: no machine of this name carries Postgres", f"there are {sites}")
    return str(word)


@contextlib.contextmanager
def for_people() -> Iterator[None]:
    """Turn an error of ours into one that pyinfra prints as a message."""
    try:
        yield
    except BastideError as error:
        raise NotBegun(f"{error.message}\n next: {error.hint}" if error.hint else error.message) from None
