"""Symbolic links."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import links as on_machine

LINKS = Fact(on_machine.links)
"""What each path points to; "" for what is no link."""
