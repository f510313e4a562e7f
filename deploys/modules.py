"""The modules of capabilities, found by their words, and what each of them says for another one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Protocol, cast

from bastide.capabilities import ON_MACHINES
from deploys.facts.fact import FactRequest
from deploys.here import Here


class Deployed(Protocol):
    """The module of a capability: `deploys/<word>.py`, or `deploys/<word>/deploy.py`. Its `@deploy` has its name."""

    def wanted_of(self, here: Here) -> Any | None:  # noqa: ANN401 - each has a type of its own
        """What it wants on a machine; `None` where it wants nothing."""

    def fact_request(self, wanted: Any) -> FactRequest:  # noqa: ANN401
        """All that it will ask of a machine."""


def deployed(word: str) -> Deployed:
    """The module of a capability."""
    module = importlib.import_module(f"deploys.{word}")
    folder = hasattr(module, "__path__")
    return cast("Deployed", importlib.import_module(f"{module.__name__}.deploy") if folder else module)


def contributions(name: str) -> Iterator[Any]:
    """What the modules of all capabilities have in their tuple of this name (`JAILS`, `QUORUM_CHECKS`), where they have
    one: so that who adds a capability edits no other one."""
    for word in ON_MACHINES:
        yield from getattr(deployed(word), name, ())
