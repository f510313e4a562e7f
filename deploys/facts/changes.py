"""What the machine's own changes (operations on files, and those that must be confirmed) have left."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import changes as on_machine


class Unfinished(TypedDict):
    """Names of changes that a killed run began: files written and not settled, and changes that nobody confirmed."""

    pending: list[str]
    guard: list[str]


UNFINISHED = Fact(on_machine.unfinished)
