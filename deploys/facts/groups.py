"""Groups."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import groups as on_machine

GROUPS = Fact(on_machine.groups)
"""Members by name; `None` for a group that does not exist."""
