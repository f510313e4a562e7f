"""Debian packages."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import packages as on_machine

PACKAGES = Fact(on_machine.packages)
"""By name whether it is installed."""
BY_NAME = Fact(on_machine.by_name)
"""By name whether this very package is installed."""
HALF_WAY = Fact(on_machine.half_way)
"""Packages that an interrupted dpkg run left half-way."""
